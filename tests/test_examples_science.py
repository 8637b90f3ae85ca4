"""The scientific examples come to what independent references say, and draw their pictures."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

import atled as at

np = pytest.importorskip("numpy", reason="the scientific examples compute with NumPy's arrays")
scipy = pytest.importorskip("scipy", reason="SciPy is the reference here")
from scipy import integrate, optimize, stats  # noqa: E402

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "examples"
NAMES = ["curve_fit", "ode_parameters", "gaussian_process", "hanging_chain", "option_greeks"]


def load(name, folder=FOLDER):
    spec = importlib.util.spec_from_file_location(f"examples_{name}", folder / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def numpy_backend():
    """The arrays that go in are NumPy's."""
    with at.use("numpy"):
        yield


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n != "curve_fit")) for n in NAMES]
)
def test_a_picture_is_drawn(name, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    before = "matplotlib.pyplot" in sys.modules
    load(name).main(["--quick", str(tmp_path / "picture.png")])
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    assert ("matplotlib.pyplot" in sys.modules) == before  # no window, no state of a process
    assert capsys.readouterr().out


def test_curve_fit_agrees_with_scipy(capsys):
    example = load("curve_fit")
    (t, y, error), p, covariance = example.main(["--quick"])
    assert "τ / s" in capsys.readouterr().out

    def model(t, size, decay, frequency, phase, offset):
        return size * np.exp(-t / decay) * np.cos(2 * np.pi * frequency * t + phase) + offset

    best, spread = optimize.curve_fit(
        model, t, y, example.GUESS, error, absolute_sigma=True, ftol=1e-14, xtol=1e-14, gtol=1e-14
    )
    assert p == pytest.approx(best, abs=1e-6)
    # SciPy leaves out the residuals' own curvature: its covariance is that of J alone.
    weighted = at.jacobian(example.swing)(p, t).numpy() / error[:, None]
    assert np.linalg.inv(weighted.T @ weighted) == pytest.approx(spread, rel=1e-4, abs=1e-8)
    ratio = np.sqrt(np.diag(covariance) / np.diag(spread))
    assert np.all((ratio > 0.8) & (ratio < 1.25))


def test_curve_fit_without_noise_finds_the_truth():
    example = load("curve_fit")
    t, error = np.linspace(0, 8, 30), np.ones(30)
    p, covariance = example.fit(t, example.swing(example.TRUTH, t).numpy(), error)
    assert p == pytest.approx(example.TRUTH, abs=1e-8)
    assert np.all(np.linalg.eigvalsh(covariance) > 0)


@pytest.mark.slow
def test_curve_fit_is_as_sure_as_it_may_be():
    # Over many measurements, (p - truth)ᵀ C⁻¹ (p - truth) is distributed as χ² with 5 degrees.
    example, rng = load("curve_fit"), np.random.default_rng(5)
    t, error = np.linspace(0, 8, 40), np.full(40, 0.5)
    clean, found = example.swing(example.TRUTH, t).numpy(), []
    for _ in range(40):
        p, covariance = example.fit(t, clean + error * rng.normal(size=t.size), error)
        found.append((p - example.TRUTH) @ np.linalg.solve(covariance, p - example.TRUTH))
    assert stats.kstest(found, stats.chi2(5).cdf).pvalue > 0.01


def trajectory(p, times):
    """Integrate the animals' equation with SciPy."""

    def rate(_, state):
        x, y = state
        return [p[0] * x - p[1] * x * y, p[3] * x * y - p[2] * y]

    done = integrate.solve_ivp(rate, (0, times[-1]), p[4:], "DOP853", times, rtol=1e-12, atol=1e-12)
    return done.y.T


def test_the_runge_kutta_loop_solves_the_equation():
    example = load("ode_parameters")
    times = example.STEP * np.arange(61)
    ours = example.solve(np.log(example.TRUTH), 60).numpy()
    assert ours == pytest.approx(trajectory(example.TRUTH, times), rel=1e-4)  # its error is O(h⁴)


@pytest.mark.slow
def test_ode_parameters_agree_with_scipy(capsys):
    example = load("ode_parameters")
    measured, q, covariance = example.main(["--quick"])
    assert "(truth 0.7)" in capsys.readouterr().out
    times = 0.4 * np.arange(len(measured))

    def misfit(q):
        return ((np.log(trajectory(np.exp(q), times)) - np.log(measured)) / 0.15).reshape(-1)

    best = optimize.least_squares(misfit, np.log(example.TRUTH), xtol=1e-12, ftol=1e-12)
    assert q == pytest.approx(best.x, abs=1e-3)
    assert covariance == pytest.approx(np.linalg.inv(best.jac.T @ best.jac), rel=0.02, abs=1e-5)
    apart = (q - np.log(example.TRUTH)) @ np.linalg.solve(covariance, q - np.log(example.TRUTH))
    assert apart < stats.chi2(6).ppf(0.99)


def test_gaussian_process_finds_the_lowest_point_of_a_grid(capsys):
    example = load("gaussian_process")
    x, y, h, lowest = example.main(["--quick"])
    assert "after" in capsys.readouterr().out
    assert lowest == pytest.approx(-density(x, y, **h), abs=1e-9)
    lengths, noises, values = example.grid(x, y, h, 25)
    i, k = 11, 17  # any point of the grid is the density's
    expected = -density(x, y, lengths[i], h["size"], noises[k])
    assert values[i, k] == pytest.approx(expected, abs=1e-8)
    i, k = np.unravel_index(values.argmin(), values.shape)
    assert lowest <= values.min()
    assert abs(lengths[i] - h["length"]) <= lengths[1] - lengths[0]
    assert abs(noises[k] - h["noise"]) <= noises[1] - noises[0]
    slope = at.grad(example.surprise)(h, x, y)
    assert max(abs(v.item()) for v in slope.values()) < 1e-3


def density(x, y, length, size, noise):
    """Return log p(y) by SciPy's multivariate normal distribution."""
    square = (x[:, None] - x) ** 2 / np.exp(2 * length)
    covariance = np.exp(2 * size) * np.exp(-square / 2) + np.exp(2 * noise) * np.eye(len(x))
    return stats.multivariate_normal(np.zeros(len(x)), covariance).logpdf(y)


def test_gaussian_process_predicts_as_its_formula():
    example = load("gaussian_process")
    x, h = np.linspace(0, 5, 8), {"length": 0.1, "size": 0.2, "noise": -5.0}
    mean, deviation = example.predict(h, x, np.sin(x), x)
    assert mean == pytest.approx(np.sin(x), abs=1e-3)  # hardly any noise: it goes through the data
    assert np.all(deviation < 0.01)


def test_chains_hang_as_catenaries(capsys):
    example = load("hanging_chain")
    far = []
    for links, options in ((12, ["--quick"]), (24, [])):
        angles, forces = example.main(options)
        assert angles.shape == (3, links)
        for length, theta, force in zip(example.LENGTHS, angles, forces, strict=True):
            places = example.joints(theta, length).numpy()
            assert places[-1] == pytest.approx(example.END, abs=1e-10)
            heights, a = example.catenary(length, places[:, 0])
            far.append([np.abs(places[:, 1] - heights).max(), abs(force[0] - a)])
    coarse, fine = np.array(far).reshape(2, 3, 2)
    order = np.log2(coarse / fine)
    assert np.all(order > 1.8)  # links half as long: a quarter of the error
    assert capsys.readouterr().out.count("catenary") == 6


def test_a_catenary_has_its_length():
    example = load("hanging_chain")
    x = np.linspace(0, 2, 20001)
    for length in example.LENGTHS:
        y, _ = example.catenary(length, x)
        assert y[[0, -1]] == pytest.approx([0, example.END[1]], abs=1e-12)
        assert np.hypot(np.diff(x), np.diff(y)).sum() == pytest.approx(length, abs=1e-6)


def test_a_chain_has_the_least_energy_and_its_force():
    example = load("hanging_chain")
    angles, forces = example.hang(np.array([2.8]), 8)
    held = {"type": "eq", "fun": lambda q: example.joints(q, 2.8)[-1].numpy() - example.END}
    other = optimize.minimize(
        lambda q: example.energy(q, 2.8).item(), np.linspace(-0.9, 0.9, 8), constraints=held,
        options={"ftol": 1e-14, "maxiter": 500},
    )  # fmt: skip
    assert angles[0] == pytest.approx(other.x, abs=1e-4)
    moved = []
    for step in (-1e-4, 1e-4):
        example.END = np.array([2.0 + step, 0.5])
        moved.append(example.energy(example.hang(np.array([2.8]), 8)[0][0], 2.8).item())
    assert forces[0, 0] == pytest.approx((moved[1] - moved[0]) / 2e-4, abs=1e-6)


def test_greeks_agree_with_their_closed_forms(capsys):
    shares, times, found = load("option_greeks").main(["--quick"])
    assert "speed" in capsys.readouterr().out
    s, t = shares[None, :], times[:, None]
    k, v, r = 100.0, 0.25, 0.03
    d1 = (np.log(s / k) + (r + v**2 / 2) * t) / (v * np.sqrt(t))
    d2 = d1 - v * np.sqrt(t)
    cdf, pdf = stats.norm.cdf, stats.norm.pdf
    today = k * np.exp(-r * t)
    vega, gamma = s * pdf(d1) * np.sqrt(t), pdf(d1) / (s * v * np.sqrt(t))
    expected = {
        "price": s * cdf(d1) - today * cdf(d2),
        "delta": cdf(d1),
        "vega": vega,
        "theta": -s * pdf(d1) * v / (2 * np.sqrt(t)) - r * today * cdf(d2),
        "rho": t * today * cdf(d2),
        "gamma": gamma,
        "vanna": -pdf(d1) * d2 / v,
        "volga": vega * d1 * d2 / v,
        "speed": -gamma / s * (d1 / (v * np.sqrt(t)) + 1),
    }
    assert list(found) == list(expected)
    for name, values in expected.items():
        assert found[name] == pytest.approx(values, rel=1e-10, abs=1e-10), name


def test_the_page_shows_each_picture_and_they_are_small():
    pytest.importorskip("matplotlib")
    pictures = load("pictures", ROOT / "docs")
    drawn = [draw.__name__ for draw in pictures.PICTURES] + pictures.GALLERY
    shown = re.findall(r"\]\(images/(\w+)\.png\)", pictures.PAGE.read_text())
    assert sorted(shown) == sorted(drawn) == sorted(p.stem for p in pictures.IMAGES.glob("*.png"))
    assert all(path.stat().st_size < 60_000 for path in pictures.IMAGES.iterdir())
    assert pictures.GALLERY == NAMES


@pytest.mark.slow
def test_the_page_computes_what_its_pictures_show(tmp_path):
    pytest.importorskip("matplotlib")
    pictures = load("pictures", ROOT / "docs")
    paths = pictures.main([draw.__name__ for draw in pictures.PICTURES], tmp_path)
    assert len(paths) == len(pictures.PICTURES)
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)
