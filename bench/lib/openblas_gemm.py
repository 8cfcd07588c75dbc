"""OpenBLAS sgemm, row-major c = a b, timed on request. Protocol: see rival.mjs."""
import array
import ctypes
import ctypes.util
import json
import random
import resource
import sys
import time


def main():
    setup = json.loads(sys.stdin.readline())
    name = ctypes.util.find_library("openblas")
    if name is None:
        print(json.dumps({"missing": "libopenblas is not installed (apt install libopenblas0-pthread)"}), flush=True)
        return
    blas = ctypes.CDLL(name)
    blas.openblas_set_num_threads(setup["threads"])
    blas.openblas_get_corename.restype = ctypes.c_char_p
    m, n, k = setup["m"], setup["n"], setup["k"]
    trans_a, trans_b = setup.get("transA", False), setup["transB"]
    source = random.Random(1)
    a, b, c = (array.array("f", (source.random() - 0.5 for _ in range(size))) for size in (m * k, k * n, m * n))
    pointer = ctypes.POINTER(ctypes.c_float)
    at = [ctypes.cast(x.buffer_info()[0], pointer) for x in (a, b, c)]
    one, zero = ctypes.c_float(1), ctypes.c_float(0)

    def product():
        blas.cblas_sgemm(
            101, 112 if trans_a else 111, 112 if trans_b else 111, m, n, k, one, at[0], m if trans_a else k,
            at[1], k if trans_b else n, zero, at[2], n)

    def sample(repeat):
        before = resource.getrusage(resource.RUSAGE_SELF)
        start = time.perf_counter()
        for _ in range(repeat):
            product()
        wall = time.perf_counter() - start
        after = resource.getrusage(resource.RUSAGE_SELF)
        cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
        return {"seconds": wall / repeat, "busy": cpu / (wall * setup["threads"])}

    sample(2)
    repeat = max(1, round(0.02 / sample(2)["seconds"]))
    print(json.dumps({"name": "OpenBLAS " + blas.openblas_get_corename().decode()}), flush=True)
    for _ in sys.stdin:
        print(json.dumps(sample(repeat)), flush=True)


main()
