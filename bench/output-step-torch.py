"""The rival of bench/output-step.mjs: the dense output step of the same size in PyTorch, one step per line of input.

Usage: output-step-torch.py LABELS BATCH INPUTS THREADS; prints "ready", then milliseconds per step.
OPENBLAS_CORETYPE and OPENBLAS_NUM_THREADS are set by the caller: a BLAS that mistakes the processor is no rival.
"""

import sys
import time

import torch

labels, batch, inputs, threads = (int(x) for x in sys.argv[1:5])
torch.set_num_threads(threads)
torch.manual_seed(1)
weight = torch.nn.Parameter(torch.empty(labels, inputs).uniform_(-1 / inputs**0.5, 1 / inputs**0.5))
bias = torch.nn.Parameter(torch.full((labels,), -3.0))
hidden = torch.empty(batch, inputs).uniform_(-1, 1).requires_grad_()
target = torch.zeros(batch, labels)  # ready made: its cost is not counted
target[torch.arange(batch).repeat(4), torch.randint(labels, (4 * batch,))] = 1.0
optimizer = torch.optim.SGD([weight, bias], lr=1e-3)


def step():
    optimizer.zero_grad()
    hidden.grad = None
    logits = torch.nn.functional.linear(hidden, weight, bias)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="sum") / batch
    loss.backward()
    optimizer.step()


step()
print("ready", flush=True)
for _ in sys.stdin:
    started = time.perf_counter()
    step()
    print((time.perf_counter() - started) * 1e3, flush=True)
