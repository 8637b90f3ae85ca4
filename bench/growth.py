"""How compile time and memory grow: chains of operations, transformer blocks, calls, shapes.

    python bench/growth.py [--calls 100000] [--shapes 1000]

Each line is measured in a process of its own, without the disk cache. Times are medians of three.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time

CHAINS = (100, 200, 400, 800)
BLOCKS = (2, 4, 8)


def chain(length: int) -> float:
    """Return the seconds of the first call of a gradient through a chain of operations."""
    import atled as at

    at.compile(lambda x: x + 1)(at.ones(3))  # what is made once a process is made now

    @at.compile
    def gradient(x: at.Tensor) -> at.Tensor:
        x = x.detach().requires_grad_()
        y = x
        for i in range(length // 4):
            y = at.sin(y) * 0.9 + y * (0.1 + i / length)
        y.sum().backward()
        return x.grad

    x = at.rand(64)
    start = time.perf_counter()
    gradient(x)
    return time.perf_counter() - start


def blocks(count: int) -> float:
    """Return the seconds of the first call of a training step of equal transformer blocks."""
    import atled as at
    from atled import nn
    from atled.nn import functional as F

    at.compile(lambda x: x + 1)(at.ones(3))
    at.manual_seed(0)

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.LayerNorm(64), nn.LayerNorm(64)
            self.qkv, self.out = nn.Linear(64, 192), nn.Linear(64, 64)
            self.up, self.down = nn.Linear(64, 256), nn.Linear(256, 64)

        def forward(self, x: at.Tensor) -> at.Tensor:
            parts = self.qkv(self.first(x)).reshape(4, 16, 3, 4, 16).permute(2, 0, 3, 1, 4)
            found = F.scaled_dot_product_attention(parts[0], parts[1], parts[2], is_causal=True)
            x = x + self.out(found.permute(0, 2, 1, 3).reshape(4, 16, 64))
            return x + self.down(F.gelu(self.up(self.second(x)), approximate="tanh"))

    model = nn.Sequential(*[Block() for _ in range(count)], nn.Linear(64, 10))
    optimizer = at.optim.AdamW(model.parameters(), lr=1e-3)

    @at.compile
    def step(x: at.Tensor, y: at.Tensor) -> at.Tensor:
        loss = F.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss

    x, y = at.randn(4, 16, 64), at.randn(4, 16, 10)
    start = time.perf_counter()
    step(x, y)
    return time.perf_counter() - start


def calls(count: int) -> float:
    """Return by how many MB the process grows in so many calls of a training step."""
    import atled as at
    from atled import nn

    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))
    optimizer = at.optim.Adam(model.parameters(), lr=1e-3)

    @at.compile
    def step(x: at.Tensor, y: at.Tensor) -> at.Tensor:
        loss = ((model(x) - y) ** 2).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss

    x, y = at.randn(32, 8), at.randn(32, 1)
    for _ in range(1000):
        step(x, y)
    before = resident()
    for _ in range(count):
        step(x, y)
    return resident() - before


def shapes(count: int) -> float:
    """Return by how many MB the process grows from a tenth of so many traced shapes to all."""
    import warnings

    import atled as at

    warnings.simplefilter("ignore")  # of many traces: that is what is asked for here

    @at.compile
    def total(x: at.Tensor) -> at.Tensor:
        return (at.exp(x) * x).sum(axis=0)

    before = 0.0
    for n in range(count):
        if n == count // 10:
            before = resident()
        total(at.ones(3, n + 1))
    return resident() - before


def peak(compiled: int) -> float:
    """Return the MB that a step of a 784-1024-1024-10 network takes at most, beyond its weights."""
    import atled as at
    from atled import nn
    from atled.nn import functional as F

    model = nn.Sequential(
        nn.Linear(784, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 10)
    )
    optimizer = at.optim.Adam(model.parameters(), lr=1e-3)

    def step(x: at.Tensor, y: at.Tensor) -> at.Tensor:
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss

    run = at.compile(step) if compiled else step
    x, y = at.randn(2048, 784), at.randint(0, 10, (2048,))
    at.compile(lambda x: x + 1)(at.ones(3))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    for _ in range(3):
        run(x, y)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before


def resident() -> float:
    """Return the memory of this process in MB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1e6


def measured(name: str, argument: int, times: int = 1) -> float:
    """Run one of the functions above in processes of its own, and return the median."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS_")}
    command = [sys.executable, __file__, "--one", name, str(argument)]
    found = [
        float(subprocess.run(command, env=kept | {"ATLED_CACHE": "off"}, check=True, text=True,
                             capture_output=True).stdout)
        for _ in range(times)
    ]  # fmt: skip
    return statistics.median(found)


def main() -> None:
    """Measure everything, and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--shapes", type=int, default=1000)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(globals()[given.one[0]](int(given.one[1])))
        return
    for title, name, sizes in (("operations", "chain", CHAINS), ("blocks", "blocks", BLOCKS)):
        for size in sizes:
            took = measured(name, size, 3)
            print(
                f"{size:>7} {title:<11} first call {took:7.3f} s  {took / size * 1e3:7.2f} ms each"
            )
    print(f"{given.calls:>7} calls       grow by {measured('calls', given.calls):7.1f} MB")
    print(f"{given.shapes:>7} shapes      grow by {measured('shapes', given.shapes):7.1f} MB")
    eager, native = measured("peak", 0), measured("peak", 1)
    print(f"peak memory of a step: eager {eager:.0f} MB, compiled {native:.0f} MB")


if __name__ == "__main__":
    main()
