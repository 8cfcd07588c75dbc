"""PyTorch's training steps of the networks of bench/networks.mjs: batch from bytes, forward, backward, Adam."""
from torch_rival import serve


def residual(torch, inputs, outputs, stride):
    nn = torch.nn

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
            self.first_norm = nn.BatchNorm2d(outputs)
            self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
            self.second_norm = nn.BatchNorm2d(outputs)
            self.shortcut = nn.Identity()
            if stride != 1 or inputs != outputs:
                self.shortcut = nn.Sequential(
                    nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
                )

        def forward(self, x):
            inner = torch.relu(self.first_norm(self.first(x)))
            return torch.relu(self.second_norm(self.second(inner)) + self.shortcut(x))

    return Block()


def image_model(torch, name):
    nn = torch.nn
    if name == "lenet300":
        return nn.Sequential(
            nn.Flatten(), nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10)
        )
    if name == "lenet5":
        return nn.Sequential(
            nn.Conv2d(1, 20, 5), nn.MaxPool2d(2), nn.Conv2d(20, 50, 5), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10),
        )
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        residual(torch, 16, 16, 1), residual(torch, 16, 32, 2), residual(torch, 32, 64, 2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    )


def character_model(torch, setup):
    nn = torch.nn

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(setup["symbols"], setup["embedding"])
            self.lstm = nn.LSTM(setup["embedding"], setup["hidden"])
            self.head = nn.Linear(setup["hidden"], setup["symbols"])
            self.state = None

        def forward(self, x):
            y, (h, c) = self.lstm(self.embedding(x), self.state)
            self.state = (h.detach(), c.detach())
            return self.head(y)

    return Model()


def build(torch, setup):
    batch, steps = setup["batch"], setup["steps"]
    loss = torch.nn.CrossEntropyLoss()
    if setup["model"] == "charlstm":
        model = character_model(torch, setup)
        text = torch.randint(0, setup["symbols"], (setup["length"] + 1, batch))

        def examples():
            return text[:-1], text[1:].reshape(-1)

    else:
        model = image_model(torch, setup["model"])
        pixels = torch.randint(0, 256, (6000, 1, 28, 28), dtype=torch.uint8)
        labels = torch.randint(0, 10, (6000,))

        def examples():
            ids = torch.randint(0, 6000, (batch,))
            return (pixels[ids].float() / 255 - 0.13) / 0.31, labels[ids]

    adam = torch.optim.Adam(model.parameters(), lr=1e-3)

    def run():
        for _ in range(steps):
            x, y = examples()
            adam.zero_grad()
            z = model(x)
            loss(z.reshape(-1, z.shape[-1]), y).backward()
            adam.step()

    return run


serve(build)
