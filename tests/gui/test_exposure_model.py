"""The stack of cards without a window: what it is as a recipe, its history, and its units."""

import dataclasses

import numpy as np
import pytest

import napari_exposure as nx
from napari_exposure import core
from napari_exposure.core.adjustment import adjustments
from napari_exposure.gui.exposure.model import Card, Stack

LIMITS = (100.0, 900.0)


def keys(stack):
    return [card.key for card in stack.cards]


def kinds(stack):
    return [card.kind for card in stack.cards]


def test_a_new_card_is_the_default_adjustment():
    for kind in adjustments():
        if not kind.examples():
            assert Card.new(kind).adjustment(LIMITS, "µm") == kind()


def test_the_cards_that_are_on_are_the_recipe():
    stack = Stack()
    assert stack.recipe(LIMITS, "µm") is None
    for kind in (core.DecayCorrection, core.PercentileClip, core.AdaptiveEqualization):
        stack.add(Card.new(kind))
    assert stack.recipe(LIMITS, "µm") == nx.Recipe(
        (core.DecayCorrection(), core.PercentileClip(), core.AdaptiveEqualization()), "µm"
    )
    stack.switch(stack.cards[2].key, False)
    # no step has a size
    assert stack.recipe(LIMITS, "µm") == nx.Recipe((core.DecayCorrection(), core.PercentileClip()))
    stack.set(stack.cards[1].key, "high", 90.0)
    stack.set(stack.cards[1].key, "in_range", "contrast_limits")
    assert stack.recipe(LIMITS, "µm").steps[1] == core.PercentileClip(0.5, 90, in_range=LIMITS)


def test_cards_are_moved_duplicated_reset_and_removed():
    stack = Stack([Card.new(core.Gamma), Card.new(core.PercentileClip)])
    gamma, clip = keys(stack)
    stack.set(gamma, "gamma", 0.5)
    stack.duplicate(gamma)
    assert kinds(stack) == [core.Gamma, core.Gamma, core.PercentileClip]
    copy = keys(stack)[1]
    assert copy not in (gamma, clip)
    stack.set(copy, "gamma", 0.7)
    assert [card.values.get("gamma") for card in stack.cards] == [0.5, 0.7, None]
    stack.move(clip, 0)
    assert keys(stack) == [clip, gamma, copy]
    # beyond the ends there is no place
    stack.move(clip, -1)
    stack.move(copy, 9)
    assert keys(stack) == [clip, gamma, copy]
    stack.set(gamma, "gain", 3.0)
    stack.reset(gamma, "gamma")
    assert (stack.cards[1].values["gamma"], stack.cards[1].values["gain"]) == (1.0, 3.0)
    stack.reset(gamma)
    assert stack.cards[1].adjustment(LIMITS, "px") == core.Gamma()
    stack.remove(gamma)
    assert keys(stack) == [clip, copy]


def test_each_change_is_a_step_of_the_history():
    stack = Stack()
    heard = []
    stack.changed.connect(lambda: heard.append(stack.cards))
    states = [stack.cards]

    def do(change):
        change()
        states.append(stack.cards)

    do(lambda: stack.add(Card.new(core.Gamma)))
    key = stack.cards[0].key
    do(lambda: stack.set(key, "gamma", 0.5))
    do(lambda: stack.set(key, "gain", 2.0))
    do(lambda: stack.add(Card.new(core.PercentileClip), 0))
    do(lambda: stack.switch(key, False))
    do(lambda: stack.move(key, 0))
    do(lambda: stack.remove(key))
    assert len(heard) == 7
    for state in states[-2::-1]:
        assert stack.can_undo
        stack.undo()
        assert stack.cards == state
    assert not stack.can_undo
    for state in states[1:]:
        assert stack.can_redo
        stack.redo()
        assert stack.cards == state
    assert not stack.can_redo
    # a change after an undo ends what could be done again
    stack.undo()
    stack.switch(key, True)
    assert not stack.can_redo


def test_a_dragged_slider_is_one_step():
    stack = Stack([Card.new(core.Gamma)])
    (key,) = keys(stack)
    for value in np.linspace(1, 2, 30):
        stack.set(key, "gamma", float(value))
    stack.undo()
    assert stack.cards[0].values["gamma"] == 1
    assert not stack.can_undo
    # with a rest between them they are two
    stack.set(key, "gamma", 0.5)
    stack.seal()
    stack.set(key, "gamma", 0.4)
    stack.undo()
    assert stack.cards[0].values["gamma"] == 0.5


@pytest.mark.parametrize(
    ("unit", "edge"), [("nm", 4190.0), ("mm", 0.00419), ("angstrom", 41900.0), ("inch", 0.000164961), ("µm", 4.19)]
)
def test_a_size_is_as_long_in_another_unit_and_comes_back(unit, edge):
    stack = Stack([Card.new(core.AdaptiveEqualization)])
    (key,) = keys(stack)
    stack.set(key, "kernel_size", 4.19, "µm")
    assert stack.cards[0].value("kernel_size", unit) == pytest.approx(edge, rel=1e-6)
    # on pixels it has no length, and other parameters may change meanwhile
    assert stack.cards[0].value("kernel_size", "px") is None
    stack.set(key, "clip_limit", 0.5, "px")
    assert stack.cards[0].value("kernel_size", "µm") == 4.19
    stack.set(key, "kernel_size", (1.0, 2.0, 3.0), unit)
    assert stack.cards[0].value("kernel_size", unit) == (1.0, 2.0, 3.0)
    stack.set(key, "kernel_size", None, "px")
    assert stack.cards[0].value("kernel_size", "µm") is None


def test_what_has_no_default_must_be_chosen():
    card = Card.new(core.HistogramMatching)
    assert card.values["reference"] is None
    with pytest.raises(ValueError, match=r"Histogram matching: choose a reference\."):
        card.adjustment(LIMITS, "px")


def test_parameters_out_of_order_are_kept_and_said():
    stack = Stack([Card.new(core.PercentileClip)])
    stack.set(stack.cards[0].key, "low", 99.9)
    with pytest.raises(ValueError, match="low"):
        stack.recipe(LIMITS, "px")
    stack.set(stack.cards[0].key, "high", 99.95)
    assert stack.recipe(LIMITS, "px").steps == (core.PercentileClip(99.9, 99.95),)


def test_cards_to_plain_data_and_back():
    reference = core.histogram(np.arange(100, dtype=np.uint8)[None])
    cards = [
        Card.of(core.PercentileClip(1, 90, in_range=core.Percentiles(2, 98), per="plane")),
        dataclasses.replace(Card.of(core.AdaptiveEqualization((1.0, 2.0, 3.0), 0.03), "nm"), on=False),
        Card.of(core.HistogramMatching(reference)),
    ]
    stack = Stack([*cards, Card.new(core.Gamma)])
    stack.set(stack.cards[3].key, "in_range", "contrast_limits")
    again = [Card.from_dict(card.to_dict()) for card in stack.cards]
    for one, other in zip(stack.cards, again, strict=True):
        assert (one.kind, one.values, one.unit, one.on) == (other.kind, other.values, other.unit, other.on)


@pytest.mark.parametrize(
    "plain", [5, {}, {"adjustment": "exec"}, {"adjustment": "Gamma", "gamma": -1}, {"adjustment": "Gamma", "unit": 3}]
)
def test_other_data_are_no_card(plain):
    with pytest.raises(ValueError, match=r"[Uu]nknown|card|Gamma|unit"):
        Card.from_dict(plain)
