"""A dense squared-error step with sparse targets in PyTorch, timed on request."""
from torch_rival import serve


def build(torch, setup):
    labels, batch, inputs, targets = (setup[name] for name in ("labels", "batch", "inputs", "targets"))
    weight = torch.nn.Parameter(torch.empty(labels, inputs).uniform_(-(inputs**-0.5), inputs**-0.5))
    hidden = torch.nn.functional.normalize(torch.randn(batch, inputs).relu()).requires_grad_()
    row = torch.arange(batch).repeat(targets)
    label = torch.randint(labels, (targets * batch,))
    optimizer = torch.optim.SGD([weight], lr=0.1)

    def step():
        optimizer.zero_grad()
        hidden.grad = None
        outputs = hidden @ weight.t()
        # |o - t|^2 without forming t
        loss = (outputs.square().sum() - 2 * outputs[row, label].sum()) / batch
        loss.backward()
        optimizer.step()

    return step


serve(build)
