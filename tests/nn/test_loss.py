"""Losses against torch, and what they refuse."""

import pytest

import atled as at
from atled import nn

F = nn.functional

PAIRS = [
    ("mse_loss", {}), ("l1_loss", {}), ("smooth_l1_loss", {}), ("smooth_l1_loss", {"beta": 0.5}),
    ("smooth_l1_loss", {"beta": 0.0}), ("huber_loss", {}), ("huber_loss", {"delta": 0.4}),
    ("poisson_nll_loss", {"full": True}), ("kl_div", {"log_target": True}),
]  # fmt: skip
REDUCTIONS = ["mean", "sum", "none"]


pytestmark = pytest.mark.filterwarnings("ignore:reduction. .mean. divides:UserWarning")


def torch_functions():
    return pytest.importorskip("torch", reason="compares with torch").nn.functional


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("name", "options"), PAIRS)
def test_a_loss_of_two_is_torchs(same, name, options, reduction):
    ours, theirs = getattr(F, name), getattr(torch_functions(), name)
    same(
        lambda x, y: ours(x, y.detach(), reduction=reduction, **options),
        lambda x, y: theirs(x, y.detach(), reduction=reduction, **options),
        (4, 3),
        (4, 3),
    )


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_losses_of_probabilities_are_torchs(same, reduction):
    T, inside = torch_functions(), ((4, 3), 0.05, 0.95)
    options = {"reduction": reduction}
    same(lambda x, y: F.binary_cross_entropy(x, y.detach(), **options),
         lambda x, y: T.binary_cross_entropy(x, y.detach(), **options), inside, inside)  # fmt: skip
    same(lambda x, y, w: F.binary_cross_entropy(x, y.detach(), w.detach(), **options),
         lambda x, y, w: T.binary_cross_entropy(x, y.detach(), w.detach(), **options),
         inside, inside, (4, 3))  # fmt: skip
    same(lambda x, y, p: F.binary_cross_entropy_with_logits(x, y, pos_weight=p.detach(), **options),
         lambda x, y, p: T.binary_cross_entropy_with_logits(x, y, pos_weight=p.detach(), **options),
         (4, 3), inside, ((3,), 0.5, 2.0))  # fmt: skip
    same(lambda x, y: F.kl_div(x, y, **options), lambda x, y: T.kl_div(x, y, **options),
         (4, 3), inside)  # fmt: skip
    same(lambda x, y: F.poisson_nll_loss(x, y.detach(), log_input=False, **options),
         lambda x, y: T.poisson_nll_loss(x, y.detach(), log_input=False, **options),
         inside, (4, 3))  # fmt: skip


def test_kl_div_batchmean_is_torchs(same):
    T = torch_functions()
    same(
        lambda x, y: F.kl_div(x, y, "batchmean"),
        lambda x, y: T.kl_div(x, y, reduction="batchmean"),
        (4, 3),
        ((4, 3), 0.1, 0.9),
    )


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_losses_of_vectors_are_torchs(same, reduction):
    T, signs = torch_functions(), [1, -1, 1, -1]
    for margin in (0.0, 0.3):
        options = {"margin": margin, "reduction": reduction}
        same(lambda a, b, y, o=options: F.cosine_embedding_loss(a, b, y, **o),
             lambda a, b, y, o=options: T.cosine_embedding_loss(a, b, y, **o),
             (4, 3), (4, 3), signs)  # fmt: skip
        same(lambda a, b, y, o=options: F.margin_ranking_loss(a, b, y, **o),
             lambda a, b, y, o=options: T.margin_ranking_loss(a, b, y, **o),
             (4,), (4,), signs)  # fmt: skip
    for swap in (False, True):
        options = {"swap": swap, "reduction": reduction}
        same(lambda a, b, c, o=options: F.triplet_margin_loss(a, b, c, **o),
             lambda a, b, c, o=options: T.triplet_margin_loss(a, b, c, **o),
             (4, 3), (4, 3), (4, 3))  # fmt: skip


@pytest.mark.parametrize("var", [(4, 3), (4, 1), (4,)])
@pytest.mark.parametrize("full", [False, True])
def test_gaussian_nll_is_torchs(same, var, full):
    T = torch_functions()
    same(lambda x, y, v: F.gaussian_nll_loss(x, y, v, full=full),
         lambda x, y, v: T.gaussian_nll_loss(x, y, v, full=full),
         (4, 3), (4, 3), (var, 0.1, 2.0))  # fmt: skip


# -- classes ----------------------------------------------------------------------------------

CLASSES = [((4,), 2), ((3, 4), [1, 0, 3]), ((2, 4, 3), [[1, 0, 3], [2, 2, 1]]),
           ((1, 4, 2, 2), [[[1, 0], [3, 3]]])]  # fmt: skip


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ignored", [-100, 3])
@pytest.mark.parametrize(("shape", "target"), CLASSES)
def test_cross_entropy_is_torchs(same, shape, target, weighted, smoothing, ignored, reduction):
    T = torch_functions()
    options = {"label_smoothing": smoothing, "ignore_index": ignored, "reduction": reduction}

    def call(f):
        return lambda x, w, y: f(x, y, w.detach() if weighted else None, **options)

    same(call(F.cross_entropy), call(T.cross_entropy), shape, ((4,), 0.5, 2.0), target)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("shape", "target"), CLASSES)
def test_nll_loss_is_torchs(same, shape, target, weighted, reduction):
    T = torch_functions()

    def call(f):
        return lambda x, w, y: f(x, y, w.detach() if weighted else None, ignore_index=0,
                                 reduction=reduction)  # fmt: skip

    same(call(F.nll_loss), call(T.nll_loss), shape, ((4,), 0.5, 2.0), target)


@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 4, 3)])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy_of_probabilities_is_torchs(same, shape, smoothing):
    T = torch_functions()
    for reduction in REDUCTIONS:
        options = {"label_smoothing": smoothing, "reduction": reduction}
        same(lambda x, y, w, o=options: F.cross_entropy(x, y, w, **o),
             lambda x, y, w, o=options: T.cross_entropy(x, y, w, **o),
             shape, (shape, 0.0, 1.0), ((4,), 0.5, 2.0))  # fmt: skip


# -- edges and errors -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy",
     "binary_cross_entropy_with_logits", "kl_div", "poisson_nll_loss"],
)  # fmt: skip
def test_a_column_against_a_row_is_refused(name):
    with pytest.raises(at.ShapeError) as caught:
        getattr(F, name)(at.ones(5, 1), at.ones(5))
    text = str(caught.value)
    assert f"{name}: the input has shape (5, 1), the target (5,)" in text
    assert "write target.reshape((5, 1)) or input.reshape((5,))" in text
    assert "test_loss.py" in text


def test_other_shapes_are_refused():
    with pytest.raises(at.ShapeError, match="nothing is broadcast in a loss"):
        F.mse_loss(at.ones(5, 2), at.ones(5))
    with pytest.raises(at.ShapeError, match="the input1 has shape"):
        F.margin_ranking_loss(at.ones(3), at.ones(4), at.ones(3))
    with pytest.raises(at.ShapeError, match="the similarity has shape"):
        F.cosine_embedding_loss(at.ones(3, 2), at.ones(3, 2), at.ones(3, 1))
    with pytest.raises(at.ShapeError, match="the anchor has shape"):
        F.triplet_margin_loss(at.ones(3, 2), at.ones(3, 2), at.ones(3))
    with pytest.raises(at.ShapeError, match="the var"):
        F.gaussian_nll_loss(at.ones(3, 2), at.ones(3, 2), at.ones(2))
    with pytest.raises(ValueError, match="reduction is 'mean', 'sum' or 'none'; found 'total'"):
        F.mse_loss(at.ones(3), at.ones(3), "total")
    with pytest.raises(ValueError, match="delta must be above 0"):
        F.huber_loss(at.ones(3), at.ones(3), delta=0)


def test_classes_are_checked():
    x = at.ones(2, 3)
    with pytest.raises(at.IndexingError, match=r"class 3 is not in \[0, 3\)"):
        F.cross_entropy(x, at.tensor([0, 3]))
    with pytest.raises(at.IndexingError, match=r"class -1 is not in \[0, 3\)"):
        F.cross_entropy(x, at.tensor([0, -1]))
    with pytest.raises(at.IndexingError, match="class 7 is not"):
        F.cross_entropy(x, at.tensor([-100, 7]))
    with pytest.raises(at.DTypeError, match="classes must be of an integer dtype"):
        F.cross_entropy(x, at.tensor([0.0, 1.0]))
    with pytest.raises(at.ShapeError, match=r"has shape \(2, 1\); write target.reshape\(\(2,\)\)"):
        F.cross_entropy(x, at.tensor([[0], [1]]))
    with pytest.raises(at.ShapeError, match=r"write target.argmax\(1\)"):
        F.cross_entropy(x, at.tensor([[0, 1, 0], [1, 0, 0]]))
    with pytest.raises(at.ShapeError, match="one weight for each of 3 classes"):
        F.cross_entropy(x, at.tensor([0, 1]), at.ones(2))
    with pytest.raises(ValueError, match="label_smoothing must lie in"):
        F.cross_entropy(x, at.tensor([0, 1]), label_smoothing=2.0)
    with pytest.raises(at.ShapeError, match="found a scalar"):
        F.nll_loss(at.tensor(1.0), at.tensor(0))


def test_certain_probabilities_have_a_bounded_loss():
    p = at.tensor([0.0, 1.0, 0.0, 1.0], requires_grad=True)
    y = at.tensor([0.0, 1.0, 1.0, 0.0])
    loss = F.binary_cross_entropy(p, y, reduction="none")
    assert loss.tolist() == pytest.approx([0.0, 0.0, 100.0, 100.0], abs=1e-4)
    loss.sum().backward()
    assert at.isfinite(p.grad).all()


def test_large_logits_do_not_overflow():
    x = at.tensor([-1000.0, 1000.0], requires_grad=True)
    loss = F.binary_cross_entropy_with_logits(x, at.tensor([1.0, 1.0]), reduction="none")
    assert loss.tolist() == [1000.0, 0.0]
    loss.sum().backward()
    assert x.grad.tolist() == [-1.0, 0.0]


def test_loss_layers(backend):
    x, y = at.tensor([[0.2, 0.7], [0.5, 0.1]]), at.tensor([[0.0, 1.0], [1.0, 0.0]])
    for name in ("MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss", "BCELoss", "BCEWithLogitsLoss",
                 "KLDivLoss", "PoissonNLLLoss"):  # fmt: skip
        assert getattr(nn, name)()(x, y).shape == ()
    classes, signs = at.tensor([0, 1]), at.tensor([1.0, -1.0])
    assert nn.CrossEntropyLoss(at.ones(2), label_smoothing=0.1)(x, classes).shape == ()
    assert nn.NLLLoss(reduction="none")(x, classes).tolist() == pytest.approx([-0.2, -0.1])
    assert nn.CosineEmbeddingLoss(0.1)(x, y, signs).shape == ()
    assert nn.MarginRankingLoss()(x[0], x[1], signs).shape == ()
    assert nn.TripletMarginLoss(swap=True)(x, y, x + 1).shape == ()
    assert nn.GaussianNLLLoss(full=True)(x, y, x).shape == ()
    assert repr(nn.HuberLoss(delta=2.0)) == "HuberLoss(delta=2.0, reduction='mean')"
    assert list(nn.CrossEntropyLoss(at.ones(2)).state_dict()) == ["weight"]


def test_the_worst_probability_still_learns():
    p = at.tensor([0.0, 1.0], requires_grad=True)
    loss = F.binary_cross_entropy(p, at.tensor([1.0, 0.0]), reduction="sum")
    loss.backward()
    assert loss.item() == 200.0
    assert p.grad.tolist() == pytest.approx([-1e12, 1e12], rel=1e-6)


def test_a_probability_outside_0_and_1_is_refused():
    with pytest.raises(ValueError, match=r"lie in \[0, 1\]; found -1 to 2"):
        F.binary_cross_entropy(at.tensor([2.0, -1.0]), at.ones(2))
