"""The dense output step of the same size in PyTorch, timed on request. Protocol: see lib/rival.mjs."""
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
    labels, batch, inputs, threads = (setup[name] for name in ("labels", "batch", "inputs", "threads"))
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    weight = torch.nn.Parameter(torch.empty(labels, inputs).uniform_(-(inputs**-0.5), inputs**-0.5))
    bias = torch.nn.Parameter(torch.full((labels,), -3.0))
    hidden = torch.empty(batch, inputs).uniform_(-1, 1).requires_grad_()
    target = torch.zeros(batch, labels)  # ready made: its cost is not counted
    target[torch.arange(batch).repeat(4), torch.randint(labels, (4 * batch,))] = 1.0
    optimizer = torch.optim.SGD([weight, bias], lr=1e-3)
    functional = torch.nn.functional

    def step():
        optimizer.zero_grad()
        hidden.grad = None
        logits = functional.linear(hidden, weight, bias)
        loss = functional.binary_cross_entropy_with_logits(logits, target, reduction="sum") / batch
        loss.backward()
        optimizer.step()

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


main()
