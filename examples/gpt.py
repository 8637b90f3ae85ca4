"""A GPT learns to write like Python's manual, character by character, by a compiled step.

    python examples/gpt.py --plot loss.png --sample 400
    python examples/gpt.py --resume --steps 2000 --sample 400 --prompt "The with statement"

The text is what `help()` knows about Python's topics, half a million characters that come with
Python itself; a tenth of it is held out.
"""

import argparse
from collections.abc import Iterator, Sequence
from pydoc_data.topics import topics

from training import Row, parser, train

import atled as at
from atled import nn

F = nn.functional


class Block(nn.Module):
    """Attention over the characters before, then a small network; each adds to its input.

    Args:
        width: the length of all vectors; a multiple of heads.
        heads: the subspaces of attention.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: at.Tensor) -> at.Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))

    def attention(self, x: at.Tensor) -> at.Tensor:
        """Mix the vectors of each text, (batch, length, width), looking back only."""
        batch, length, width = x.shape
        q, k, v = (
            part.reshape(batch, length, self.heads, width // self.heads).transpose(1, 2)
            for part in self.qkv(x).split(width, dim=-1)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(mixed.transpose(1, 2).reshape(batch, length, width))


class GPT(nn.Module):
    """Predict each next character of texts (batch, length) as logits (batch, length, vocabulary).

    Args:
        vocabulary: how many characters there are.
        context: the greatest length.
        width, layers, heads: sizes, see `Block`.
    """

    def __init__(self, vocabulary: int, context: int, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.context = context
        self.character = nn.Embedding(vocabulary, width)
        self.place = nn.Embedding(context, width)
        self.blocks = nn.Sequential(*[Block(width, heads) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        for table in (self.character, self.place):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, text: at.Tensor) -> at.Tensor:
        x = self.character(text) + self.place(at.arange(text.shape[1]))
        return self.head(self.norm(self.blocks(x)))


class Manual:
    """The manual as numbers, and the way back.

    Attributes:
        alphabet: all its characters; a number is a place in it.
        train, held_out: the two parts, as numbers: of ten pages, nine and one.
    """

    def __init__(self, page: int = 4000) -> None:
        text = "\n\n".join(topics[name] for name in sorted(topics))
        self.alphabet = sorted(set(text))
        pages = [text[i : i + page] for i in range(0, len(text), page)]
        self.held_out = self.encode("".join(pages[9::10]))
        del pages[9::10]
        self.train = self.encode("".join(pages))

    def encode(self, text: str) -> at.Tensor:
        """Return the numbers of a text; characters that the manual does not have are left out."""
        number = {character: i for i, character in enumerate(self.alphabet)}
        return at.tensor([number[c] for c in text if c in number], dtype=at.int64)

    def decode(self, numbers: at.Tensor) -> str:
        """Return the text of numbers."""
        return "".join(self.alphabet[i] for i in numbers.tolist())


def windows(text: at.Tensor, starts: at.Tensor, length: int) -> tuple[at.Tensor, at.Tensor]:
    """Return a piece of the text from each start, (batch, length), and what follows each place."""
    pieces = text[starts.reshape(-1, 1) + at.arange(length + 1)]
    return pieces[:, :-1], pieces[:, 1:]


def batches(text: at.Tensor, size: int, length: int) -> Iterator[tuple[at.Tensor, at.Tensor]]:
    """Draw pieces of the text, without end."""
    while True:
        yield windows(text, at.randint(0, len(text) - length, (size,)), length)


def loss_of(model: nn.Module, text: at.Tensor, following: at.Tensor) -> at.Tensor:
    """Return the mean surprise at each next character, in nats."""
    return F.cross_entropy(model(text).flatten(0, 1), following.flatten())


def write(model: GPT, text: at.Tensor, count: int, temperature: float) -> at.Tensor:
    """Continue a text by `count` characters, each drawn from what the model expects."""
    with at.no_grad():
        for _ in range(count):
            logits = model(text[-model.context :].reshape(1, -1))[0, -1]
            chances = at.cumsum(at.softmax(logits / temperature, -1), 0)
            drawn = at.count_nonzero(chances[:-1] < at.rand(()))
            text = at.concat([text, drawn.reshape(1)])
    return text


def plot(rows: list[Row], path: str) -> None:
    """Draw the losses of training and held-out text over the steps."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name in ("loss", "held out"):
        axes.plot([row["step"] for row in rows], [row[name] for row in rows], label=name)
    axes.set(xlabel="step", ylabel="nats per character", ylim=(0, None))
    axes.legend()
    figure.savefig(path, dpi=150)


def read(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options."""
    accepted = parser(__doc__, "gpt", steps=1000, every=50, lr=1e-3)
    for name, value in (("width", 128), ("layers", 4), ("heads", 4), ("context", 64)):
        accepted.add_argument(f"--{name}", type=int, default=value)
    accepted.add_argument("--batch", type=int, default=16, help="pieces of text in a step")
    accepted.add_argument("--plot", metavar="FILE", help="draw the losses")
    accepted.add_argument("--sample", type=int, default=0, metavar="N", help="write N characters")
    accepted.add_argument("--prompt", default="The ", help="what to continue")
    accepted.add_argument("--temperature", type=float, default=0.8, help="of the writing")
    options = accepted.parse_args(arguments)
    if options.quick:
        options.steps, options.every, options.lr = 100, 20, 3e-3
        options.width, options.layers = 32, 2
    return options


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """Train and write; return the rows of progress."""
    options = read(arguments)
    manual, length = Manual(), options.context
    at.manual_seed(options.seed)
    model = GPT(len(manual.alphabet), length, options.width, options.layers, options.heads)
    optimizer = at.optim.AdamW(model.parameters(), lr=options.lr)
    places = at.arange(32) * ((len(manual.held_out) - length - 1) // 32)
    held_out = windows(manual.held_out, places, length)

    @at.compile
    def step(text: at.Tensor, following: at.Tensor) -> at.Tensor:
        loss = loss_of(model, text, following)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss

    def judge() -> Row:
        with at.no_grad():
            return {"held out": loss_of(model, *held_out).item()}

    pieces = batches(manual.train, options.batch, length)
    rows = train(step, pieces, judge, options, model=model, optimizer=optimizer)
    if options.plot:
        plot(rows, options.plot)
    if options.sample:
        prompt = manual.encode(options.prompt)
        print(manual.decode(write(model, prompt, options.sample, options.temperature)))
    return rows


if __name__ == "__main__":
    main()
