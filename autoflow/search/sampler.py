"""Optuna decides and keras-tuner asks: the one bridge between the two, and the order of proposals.

Heavy imports happen inside the functions. A proposal carries its values and distributions, so that a study
can be rebuilt from the ledger without Optuna's own storage.
"""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from autoflow.data.schema import DataProfile
from autoflow.pipeline.spec import PipelineSpec
from autoflow.search.space import CLASSIFIER, draw

if TYPE_CHECKING:
    import keras_tuner
    import optuna

Value = int | float | str | bool

_NO_GAINS: Mapping[str, float] = MappingProxyType({})
_DRAWS = 8
"""Until a proposal that was not made before is given up."""


def derived_seed(seed: int, number: int) -> int:
    """Returns a seed below 2^31 for trial `number` of a run; a resumed run repeats no point with it."""
    return zlib.crc32(f"{seed}/{number}".encode()) & 0x7FFFFFFF


@dataclass(frozen=True)
class Proposal:
    """A pipeline to try, with the flat values that it was drawn from.

    Args:
        spec: the pipeline.
        values: hyperparameter values by scoped name.
        distributions: Optuna's JSON of the distribution of each searched value.
        origin: `"portfolio"` or `"tpe"`.
        share: of the training rows on which it is tried.
    """

    spec: PipelineSpec
    values: Mapping[str, Value]
    distributions: Mapping[str, str] = field(repr=False)
    origin: str
    share: float = 1.0


class Sampler:
    """Proposes pipelines: given recipes first, then TPE over the conditional space.

    TPE (Bergstra et al. 2011, "Algorithms for Hyper-Parameter Optimization") ranks the trials that it was
    told of, so what it is drawn towards can change from one draw to the next.

    Args:
        profile: shape of the data.
        seed: of the run; trial `n` is drawn with a seed derived from it and `n`.
    """

    def __init__(self, profile: DataProfile, seed: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._profile = profile
        self._seed = seed
        self._told: dict[str, tuple[optuna.trial.FrozenTrial, float]] = {}
        """With their losses, by fingerprint."""
        self._running: dict[str, optuna.trial.FrozenTrial] = {}
        """Those drawn from TPE that were not told, from which it keeps away."""
        self._study: tuple[Mapping[str, float], optuna.Study] | None = None
        """The last one with the gains that it is of, until a loss is told."""
        self._drawn: dict[str, optuna.trial.Trial] = {}
        """From that study."""
        self._seen: set[str] = set()
        self._draws: tuple[int, int] = (-1, 0)
        """For which trial was drawn last, and how often: no draw for it repeats an earlier one."""

    def recipe(self, values: Mapping[str, Value]) -> Proposal:
        """Returns the pipeline that holds the given values and defaults elsewhere."""
        return self._propose(_default, values, "portfolio")

    def ask(
        self, number: int, classifier: str | None = None, gains: Mapping[str, float] = _NO_GAINS
    ) -> Proposal | None:
        """Returns a proposal for trial `number` that was not made before; None where none was found.

        Args:
            number: of the trial; another call with it draws anew.
            classifier: name of the one that it must have; None for what TPE likes.
            gains: by which pipelines are ranked instead of their losses, the greatest best, by fingerprint;
                those that it lacks count as the worst.
        """
        study = self._study_of(gains)
        for _ in range(_DRAWS):
            drawn = self._draws[1] + 1 if self._draws[0] == number else 0
            self._draws = number, drawn
            study.sampler = _tpe(derived_seed(self._seed, number * 1000 + drawn))
            if classifier is not None:
                study.enqueue_trial({CLASSIFIER: classifier})
            trial = study.ask()
            proposal = self._propose(_suggest(trial), {}, "tpe")
            if self.claim(proposal):
                self._running[proposal.spec.fingerprint] = _frozen(proposal, "RUNNING", None)
                self._drawn[proposal.spec.fingerprint] = trial
                return proposal
            study.tell(trial, state=_trial_state("FAIL"))
        return None

    def _study_of(self, gains: Mapping[str, float]) -> optuna.Study:
        """Returns a study of the trials that were told and of those that run; see `ask`."""
        import optuna

        if self._study is not None and self._study[0] == gains:
            return self._study[1]
        study = optuna.create_study(direction="minimize")
        worst = min(gains.values(), default=0.0)
        for recipe, (trial, loss) in self._told.items():
            trial.value = -gains.get(recipe, worst) if gains else loss
            study.add_trial(trial)  # which copies it
        study.add_trials(self._running.values())
        self._study, self._drawn = (gains, study), {}
        return study

    def claim(self, proposal: Proposal) -> bool:
        """Tells whether no equal spec was proposed before, and remembers it."""
        new = proposal.spec.fingerprint not in self._seen
        self._seen.add(proposal.spec.fingerprint)
        return new

    def forget(self, proposal: Proposal) -> None:
        """Lets a proposal be made again."""
        self._seen.discard(proposal.spec.fingerprint)

    def tell(self, proposal: Proposal, loss: float | None) -> None:
        """Records how a proposal ended.

        Args:
            proposal: one of this sampler, or one from the ledger of the same run.
            loss: what is minimised, finite; None for a trial that gave no score.
        """
        recipe = proposal.spec.fingerprint
        self._seen.add(recipe)
        self._running.pop(recipe, None)
        drawn = self._drawn.pop(recipe, None)
        if loss is not None:
            self._told[recipe] = _frozen(proposal, "COMPLETE", loss), loss
            self._study = None
        elif drawn is not None:
            drawn.study.tell(drawn, state=_trial_state("FAIL"))

    def _propose(self, choose: Choose, values: Mapping[str, Value], origin: str) -> Proposal:
        distributions: dict[str, str] = {}
        hp = _hyperparameters(choose, values, distributions)
        spec = draw(hp, self._profile)
        values = {
            declared.name: hp.values[declared.name] for declared in hp.space if declared.name in hp.values
        }
        return Proposal(spec, values, distributions, origin)


def _frozen(proposal: Proposal, state: str, loss: float | None) -> optuna.trial.FrozenTrial:
    import optuna

    return optuna.trial.create_trial(
        state=_trial_state(state),
        value=loss,
        params={name: proposal.values[name] for name in proposal.distributions},
        distributions={
            name: optuna.distributions.json_to_distribution(text)
            for name, text in proposal.distributions.items()
        },
    )


def _tpe(seed: int) -> optuna.samplers.TPESampler:
    from optuna.exceptions import ExperimentalWarning
    from optuna.samplers import TPESampler

    with warnings.catch_warnings():
        # `group` is marked experimental; conditional spaces need it
        warnings.simplefilter("ignore", ExperimentalWarning)
        return TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True, n_startup_trials=8)


Choose = Callable[[Any, "optuna.distributions.BaseDistribution"], Value]
"""From a declared keras-tuner hyperparameter and its Optuna distribution to a value."""


def _default(declared: Any, distribution: optuna.distributions.BaseDistribution) -> Value:
    return declared.default


def _suggest(trial: optuna.trial.Trial) -> Choose:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    def choose(declared: Any, distribution: optuna.distributions.BaseDistribution) -> Value:
        name = declared.name
        match distribution:
            case CategoricalDistribution():
                return cast(Value, trial.suggest_categorical(name, distribution.choices))
            case IntDistribution():
                return trial.suggest_int(
                    name, distribution.low, distribution.high, step=distribution.step, log=distribution.log
                )
            case FloatDistribution():
                return trial.suggest_float(
                    name, distribution.low, distribution.high, step=distribution.step, log=distribution.log
                )
        raise TypeError(f"no way to ask Optuna for {distribution}")

    return choose


def _hyperparameters(
    choose: Choose, values: Mapping[str, Value], distributions: dict[str, str]
) -> keras_tuner.HyperParameters:
    """Returns a keras-tuner container in which the first request for a name asks `choose`."""
    import keras_tuner
    import optuna

    class AskingHyperParameters(keras_tuner.HyperParameters):
        def _register(self, hyperparameter: Any, overwrite: bool = False) -> Any:
            distribution = _distribution(hyperparameter)
            if distribution is not None and self.is_active(hyperparameter):
                name = hyperparameter.name
                if name not in self.values or not _holds(distribution, self.values[name]):
                    self.values[name] = choose(hyperparameter, distribution)
                distributions[name] = optuna.distributions.distribution_to_json(distribution)
            return super()._register(hyperparameter, overwrite)

    hp = AskingHyperParameters()
    hp.values.update(values)
    return hp


def _distribution(declared: Any) -> optuna.distributions.BaseDistribution | None:
    import keras_tuner.engine.hyperparameters as kinds
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(declared, kinds.Boolean):
        return CategoricalDistribution([False, True])
    if isinstance(declared, kinds.Choice):
        return CategoricalDistribution(declared.values)
    logarithmic = getattr(declared, "sampling", None) in ("log", "reverse_log")
    if isinstance(declared, kinds.Int):
        step = 1 if logarithmic else declared.step or 1
        return IntDistribution(declared.min_value, declared.max_value, log=logarithmic, step=step)
    if isinstance(declared, kinds.Float):
        step = None if logarithmic else declared.step
        return FloatDistribution(declared.min_value, declared.max_value, log=logarithmic, step=step)
    return None


def _holds(distribution: Any, value: Value) -> bool:
    """Tells whether a given value lies in the space; a portfolio may name what this profile excludes."""
    from optuna.distributions import CategoricalDistribution

    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    return distribution.low <= value <= distribution.high


def _trial_state(name: str) -> optuna.trial.TrialState:
    import optuna

    return optuna.trial.TrialState[name]


def opening(sampler: Sampler, recipes: list[dict[str, Value]]) -> Iterator[Proposal]:
    """Yields the distinct pipelines of an opening portfolio."""
    for recipe in recipes:
        proposal = sampler.recipe(recipe)
        if sampler.claim(proposal):
            yield proposal
