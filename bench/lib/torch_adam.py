"""PyTorch's Adam step over one flat parameter, timed on request. Protocol: see rival.mjs."""
import json
import resource
import sys
import time


def main():
    setup = json.loads(sys.stdin.readline())
    try:
        import torch
    except ImportError:
        print(json.dumps({"missing": "PyTorch is not installed (apt install python3-torch)"}), flush=True)
        return
    torch.set_num_threads(setup["threads"])
    weight = torch.nn.Parameter(torch.rand(setup["n"]) - 0.5)
    weight.grad = torch.rand(setup["n"]) - 0.5
    adam = torch.optim.Adam([weight], lr=1e-3, foreach=setup["foreach"])

    def sample():
        before = resource.getrusage(resource.RUSAGE_SELF)
        start = time.perf_counter()
        adam.step()
        wall = time.perf_counter() - start
        after = resource.getrusage(resource.RUSAGE_SELF)
        cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
        return {"seconds": wall, "busy": cpu / (wall * setup["threads"])}

    sample()
    sample()
    form = "foreach" if setup["foreach"] else "plain"
    print(json.dumps({"name": f"PyTorch {torch.__version__} Adam ({form})"}), flush=True)
    for _ in sys.stdin:
        print(json.dumps(sample()), flush=True)


main()
