"""The dense output step of the same size in PyTorch, timed on request."""
from torch_rival import serve


def build(torch, setup):
    labels, batch, inputs = (setup[name] for name in ("labels", "batch", "inputs"))
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

    return step


serve(build)
