"""The PyTorch side of lib/rival.mjs for steps that run partly on one thread: `serve(build)` reads the setup, builds the
step, and times it once per line that comes."""
import json
import resource
import sys
import time


def serve(build):
    """build(torch, setup) returns a step without arguments; setup holds the number of threads."""
    setup = json.loads(sys.stdin.readline())
    try:
        import torch
    except ImportError:
        print(json.dumps({"missing": "PyTorch is not installed (apt install python3-torch)"}), flush=True)
        return
    threads = setup["threads"]
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    step = build(torch, setup)

    def sample():
        before = resource.getrusage(resource.RUSAGE_SELF)
        start = time.perf_counter()
        step()
        wall = time.perf_counter() - start
        after = resource.getrusage(resource.RUSAGE_SELF)
        cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
        return wall, cpu / (wall * threads)

    # Parts of the step run on one thread only: what counts as undisturbed is its own best share.
    best = max(sample()[1] for _ in range(3))
    print(json.dumps({"name": f"PyTorch {torch.__version__}, dense"}), flush=True)
    for _ in sys.stdin:
        wall, busy = sample()
        best = max(best, busy)
        print(json.dumps({"seconds": wall, "busy": busy / best}), flush=True)
