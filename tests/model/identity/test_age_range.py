"""Age ranges: they hold what they promise on new faces of each age; the file's form; what is refused."""

import numpy as np
import pytest

from model.identity.age_range import LEAST, AgeRanges, fit_age_ranges


def drawn(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Estimated and true ages: estimates lean to the middle, and their errors grow with age."""
    rng = np.random.default_rng(seed)
    ages = rng.uniform(0, 90, count)
    lean = 0.05 * (35 - ages)
    return np.maximum(ages + lean + (1 + ages / 12) * (rng.gumbel(0, 1, count) - 0.3), 0), ages


def test_eighty_of_a_hundred_new_faces_in_all_and_of_each_decade() -> None:
    ranges = fit_age_ranges(*drawn(0, 4000))
    estimates, ages = drawn(1, 10_000)
    ends = np.array([ranges.range(estimate) for estimate in estimates])
    inside = (ages >= ends[:, 0]) & (ages <= ends[:, 1])
    assert abs(inside.mean() - 0.8) < 0.03
    for start in range(0, 90, 10):
        decade = (ages >= start) & (ages < start + 10)
        assert abs(inside[decade].mean() - 0.8) < 0.08, start
    assert np.ptp(ranges.range(70)) > 2 * np.ptp(ranges.range(10))


def test_the_quantiles_by_hand() -> None:
    """Ninety-nine estimates of one age, 1 … 99 years off: the tenth from either end of a hundred."""
    ranges = fit_age_ranges(60.0 + np.arange(-49, 50), np.full(99, 60.0))
    assert (ranges.ages, ranges.lower, ranges.upper) == ((60.0,), (pytest.approx(-40),), (pytest.approx(40),))
    assert ranges.range(60.0) == (pytest.approx(20, abs=0.11), pytest.approx(100, abs=0.11))


def test_a_lean_of_the_estimates_is_undone() -> None:
    """All estimates of the young are ten years too high: the range of 20 is about 10."""
    ages = np.full(99, 10.0)
    low, high = fit_age_ranges(ages + 10 + np.linspace(-1, 1, 99), ages).range(20.0)
    assert low == pytest.approx(9.2, abs=0.1)
    assert high == 20.0  # the estimate lies in its range


def test_the_estimate_lies_in_its_range() -> None:
    ranges = fit_age_ranges(*drawn(0, 500))
    for age in (-3.0, 0.0, 5.5, 40.0, 88.0, 119.0, 140.0):
        low, high = ranges.range(age)
        assert 0 <= low <= max(age, 0.0) <= high


def test_a_group_with_few_faces_joins_its_neighbour() -> None:
    ages = np.concatenate([np.full(LEAST, 2.0), np.full(LEAST - 1, 7.0), np.full(LEAST, 12.0)])
    assert len(fit_age_ranges(ages, ages).ages) == 2


def test_it_survives_its_file() -> None:
    ranges = fit_age_ranges(*drawn(2, 500))
    assert AgeRanges.from_dict(ranges.as_dict()) == ranges


@pytest.mark.parametrize("data", [{}, {"coverage": 0.8}, {"coverage": "x", "ages": [], "lower": [], "upper": []}])
def test_a_file_of_something_else_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="no age ranges"):
        AgeRanges.from_dict(data)


def test_bad_input_is_refused() -> None:
    estimates, ages = drawn(3, 100)
    with pytest.raises(ValueError, match="20 faces"):
        fit_age_ranges(estimates[:10], ages[:10])
    with pytest.raises(ValueError, match="20 faces"):
        fit_age_ranges(estimates, ages[:60])
    with pytest.raises(ValueError, match="between 0 and 1"):
        fit_age_ranges(estimates, ages, 1.0)
    with pytest.raises(ValueError, match="finite number"):
        fit_age_ranges(estimates, ages).range(float("nan"))
    with pytest.raises(ValueError, match="quantile"):
        AgeRanges.from_dict({"coverage": 0.8, "faces": 9, "ages": [0], "lower": [1, 2], "upper": [1]})
