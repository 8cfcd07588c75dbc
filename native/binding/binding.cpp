// The only file that knows Node: binds every kernel of kernels.h by the types of its parameters.
//   T*        <- typed array of that element type, or null        void* <- any typed array, or null
//   int64_t, int32_t <- whole number or boolean                   double <- number
// A wrong type throws a TypeError, a return code other than 0 an Error with `code`.

#include <node_api.h>

#include <cmath>
#include <cstdio>
#include <tuple>
#include <type_traits>
#include <utility>

#include "../include/kernels.h"
#include "../include/sparse_kernels.h"

namespace {

template <class T>
struct Element;
template <>
struct Element<float> {
  static constexpr napi_typedarray_type type = napi_float32_array;
  static constexpr const char *name = "Float32Array or null";
};
template <>
struct Element<double> {
  static constexpr napi_typedarray_type type = napi_float64_array;
  static constexpr const char *name = "Float64Array or null";
};
template <>
struct Element<int32_t> {
  static constexpr napi_typedarray_type type = napi_int32_array;
  static constexpr const char *name = "Int32Array or null";
};
template <>
struct Element<uint32_t> {
  static constexpr napi_typedarray_type type = napi_uint32_array;
  static constexpr const char *name = "Uint32Array or null";
};
template <>
struct Element<uint8_t> {
  static constexpr napi_typedarray_type type = napi_uint8_array;
  static constexpr const char *name = "Uint8Array or null";
};
template <>
struct Element<uint16_t> {
  static constexpr napi_typedarray_type type = napi_uint16_array;
  static constexpr const char *name = "Uint16Array or null";
};

// read() returns null when the value fits, else what was expected.
template <class T>
struct Argument;

template <class T>
struct Argument<T *> {
  static const char *read(napi_env env, napi_value value, T *&out) {
    using Plain = std::remove_const_t<T>;
    napi_typedarray_type type;
    void *data = nullptr;
    if (napi_get_typedarray_info(env, value, &type, nullptr, &data, nullptr, nullptr) == napi_ok) {
      out = static_cast<T *>(data);
      if constexpr (std::is_void_v<Plain>) return nullptr;
      else return type == Element<Plain>::type ? nullptr : Element<Plain>::name;
    }
    out = nullptr;
    napi_valuetype kind;
    if (napi_typeof(env, value, &kind) == napi_ok && kind == napi_null) return nullptr;
    if constexpr (std::is_void_v<Plain>) return "a typed array or null";
    else return Element<Plain>::name;
  }
};

template <>
struct Argument<double> {
  static const char *read(napi_env env, napi_value value, double &out) {
    return napi_get_value_double(env, value, &out) == napi_ok ? nullptr : "a number";
  }
};

template <class Whole>
const char *read_whole(napi_env env, napi_value value, double limit, const char *expected, Whole &out) {
  double number;
  bool flag;
  if (napi_get_value_double(env, value, &number) != napi_ok) {
    if (napi_get_value_bool(env, value, &flag) != napi_ok) return expected;
    number = flag ? 1 : 0;
  }
  if (!(number >= -limit && number < limit) || number != std::trunc(number)) return expected;
  out = static_cast<Whole>(number);
  return nullptr;
}

template <>
struct Argument<int64_t> {
  static const char *read(napi_env env, napi_value value, int64_t &out) {
    return read_whole(env, value, 9007199254740992.0, "a whole number below 2^53", out);
  }
};
template <>
struct Argument<int32_t> {
  static const char *read(napi_env env, napi_value value, int32_t &out) {
    return read_whole(env, value, 2147483648.0, "a whole number of 32 bits, or a boolean", out);
  }
};

const char *code_name(int code) {
  switch (code) {
    case ES_BAD_ARGUMENT: return "ES_BAD_ARGUMENT";
    case ES_INDEX_RANGE: return "ES_INDEX_RANGE";
    case ES_NO_MEMORY: return "ES_NO_MEMORY";
    case ES_ISA_MISSING: return "ES_ISA_MISSING";
    default: return "ES_UNKNOWN";
  }
}

template <auto Fn>
struct Bound;

template <class... A, int (*Fn)(A...)>
struct Bound<Fn> {
  static napi_value call(napi_env env, napi_callback_info info) {
    return apply(env, info, std::index_sequence_for<A...>{});
  }

  template <size_t... I>
  static napi_value apply(napi_env env, napi_callback_info info, std::index_sequence<I...>) {
    size_t count = sizeof...(A);
    napi_value values[sizeof...(A) + 1];
    void *name = nullptr;
    if (napi_get_cb_info(env, info, &count, values, nullptr, &name) != napi_ok) return nullptr;
    char message[200];
    if (count < sizeof...(A)) {
      std::snprintf(message, sizeof message, "%s: expected %zu arguments, received %zu",
                    static_cast<const char *>(name), sizeof...(A), count);
      napi_throw_type_error(env, "ES_ARGUMENT_TYPE", message);
      return nullptr;
    }
    std::tuple<A...> args;
    const char *expected = nullptr;
    size_t bad = 0;
    (void)((expected = Argument<A>::read(env, values[I], std::get<I>(args)), bad = I, expected == nullptr) && ...);
    if (expected != nullptr) {
      std::snprintf(message, sizeof message, "%s: argument %zu must be %s", static_cast<const char *>(name), bad + 1,
                    expected);
      napi_throw_type_error(env, "ES_ARGUMENT_TYPE", message);
      return nullptr;
    }
    int code = Fn(std::get<I>(args)...);
    if (code != ES_OK) {
      std::snprintf(message, sizeof message, "%s failed: %s", static_cast<const char *>(name), code_name(code));
      napi_throw_error(env, code_name(code), message);
    }
    return nullptr;
  }
};

template <class Result, Result (*Fn)()>
napi_value read_context(napi_env env, napi_callback_info) {
  napi_value value;
  return napi_create_int64(env, static_cast<int64_t>(Fn()), &value) == napi_ok ? value : nullptr;
}

void define(napi_env env, napi_value exports, const char *name, napi_callback callback) {
  napi_value function;
  if (napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, const_cast<char *>(name), &function) == napi_ok) {
    napi_set_named_property(env, exports, name, function);
  }
}

}  // namespace

NAPI_MODULE_INIT() {
  define(env, exports, "set_threads", Bound<&es_set_threads>::call);
  define(env, exports, "set_isa", Bound<&es_set_isa>::call);
  define(env, exports, "advise_huge", Bound<&es_advise_huge>::call);
  define(env, exports, "return_pages", Bound<&es_return_pages>::call);
  define(env, exports, "threads", read_context<int, &es_threads>);
  define(env, exports, "isa", read_context<int, &es_isa>);
  define(env, exports, "best_isa", read_context<int, &es_best_isa>);
  define(env, exports, "has_bf16", read_context<int, &es_has_bf16>);
  define(env, exports, "scratch_bytes", read_context<int64_t, &es_scratch_bytes>);
#define ES_KERNEL(name, parameters, names) define(env, exports, #name, Bound<&es_##name>::call);
#include "../include/kernels.h"
#include "../include/sparse_kernels.h"
#undef ES_KERNEL
  return exports;
}
