"""What can be said of a tracker, and what is refused before a run begins."""

import pytest

from jaxgen.config.experiment import load_experiment
from jaxgen.errors import UserError
from jaxgen.specs.tracker import Mode, NoTracker, Wandb


def tracker(*overrides):
    return load_experiment(overrides).tracker


def test_there_is_none_unless_it_is_asked_for():
    assert tracker() == NoTracker()


def test_wandb_stays_offline_unless_it_is_told_otherwise():
    assert tracker("tracker=wandb") == Wandb(mode=Mode.offline, project="jaxgen")
    assert tracker("tracker=wandb", "tracker.mode=online").mode is Mode.online


def test_tags_are_texts_and_stand_once():
    assert tracker("tracker=wandb", "tracker.tags=[a,1,a]").tags == ("a", "1")


@pytest.mark.parametrize(
    ("override", "fragment"),
    [
        ("tracker.mode=onlin", "tracker.mode takes one of offline, online (default offline)"),
        ("tracker.projekt=x", "did you mean tracker.project?"),
        ("tracker.project=a/b", "tracker.project=a/b has / in it"),
        ("tracker.project=''", "tracker.project= must have 1 to 128 characters, not 0"),
        (f"tracker.name={'x' * 101}", "must have 1 to 100 characters, not 101"),
        (f"tracker.tags=[{'x' * 65}]", "must have 1 to 64 characters, not 65"),
        ("tracker.tags=a", "tracker.tags takes a list"),
        (
            "tracker.init_timeout_s=0",
            "tracker.init_timeout_s=0.0 must be above 0 and at most 86400 seconds",
        ),
        ("tracker.finish_timeout_s=inf", "tracker.finish_timeout_s=inf must be above 0"),
        ("tracker.finish_timeout_s=nan", "tracker.finish_timeout_s=nan must be above 0"),
    ],
)
def test_what_wandb_would_refuse_is_refused_before_the_run(override, fragment):
    with pytest.raises(UserError) as error:
        tracker("tracker=wandb", override)
    assert fragment in str(error.value)


def test_both_arms_have_the_same():
    with pytest.raises(
        UserError, match="tracker, study, sweep, console are the same for both arms"
    ):
        tracker("baseline.overrides=['tracker=wandb']")
