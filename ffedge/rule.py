"""The learning rule of a layer, validated where it is made (see `ffedge.spec`)."""

from dataclasses import dataclass
from typing import Literal

from ffedge.fields import check, check_choices, is_finite, is_list

Variant = Literal["ff", "fcff", "acff"]
Loss = Literal["logistic", "symmetric", "contrastive"]


@dataclass(frozen=True)
class RuleSpec:
    """The learning rule of a layer: DESIGN.md section 2; the paper's open points are its options.

    Attributes
    ----------
    variant : ``ff`` (layers alone), ``fcff`` (gamma fixed, eq. 6), ``acff`` (gamma learnt, eq. 7).
    loss : ``logistic`` (eq. 4 and 8), ``symmetric`` (softplus of the difference, SymBa), ``contrastive``
        (cross-entropy over the goodness of the true label and of the wrong ones).
    slope : factor on the goodness inside the loss; None takes 1 (4 for ``symmetric``), ``auto`` 4 for the contrastive
        loss on tables too.
    smoothing : label smoothing of the contrastive loss; ``auto`` takes 0.05 for images and 0 for tables.
    sparsity : the share of rows that each unit is meant to be active in, or ``none``: the bias of one that is active
        more often falls, of one that is active less often rises, without a gradient.
    theta : goodness threshold of the logistic loss.
    theta_placement : ``per_layer`` takes theta off every layer's goodness in eq. 5, ``once`` off the layer's own only.
    scope : the layers that layer l listens to: all others, those before it, or those after it.
    alpha : weight of layer k in layer l: ``ones``, ``mean`` (1/(L-1)), or an L x L matrix.
    gamma : collaboration strength (A-CFF: its first value).
    gamma_rate, gamma_optimizer : how A-CFF learns gamma.
    prediction_weights : ``plain`` sums the layers' goodness, ``collaborative`` weighs layer l by
        ``1 + sum_{m != l} gamma_m alpha_ml``.
    """

    variant: Variant = "acff"
    loss: Loss = "contrastive"
    slope: float | Literal["auto"] | None = None
    smoothing: float | Literal["auto"] = 0.05
    sparsity: float | Literal["none"] = "none"
    theta: float = 2.0
    theta_placement: Literal["per_layer", "once"] = "per_layer"
    scope: Literal["all", "previous", "next"] = "all"
    alpha: Literal["ones", "mean"] | tuple[tuple[float, ...], ...] = "ones"
    gamma: float = 1.0
    gamma_rate: float = 0.01
    gamma_optimizer: Literal["sgd", "adam"] = "sgd"
    prediction_weights: Literal["plain", "collaborative"] = "plain"

    def __post_init__(self) -> None:
        """Raise ValueError for a value outside its rule."""
        check_choices(self)
        slope, smoothing = self.slope, self.smoothing
        if slope is not None and slope != "auto":
            check(is_finite(slope) and slope > 0, "slope", "be positive", slope)
        if smoothing != "auto":
            check(is_finite(smoothing) and 0 <= smoothing < 1, "smoothing", "be in [0, 1)", smoothing)
        check(
            self.sparsity == "none" or (is_finite(self.sparsity) and 0 < self.sparsity < 1),
            "sparsity",
            "be between 0 and 1, or 'none'",
            self.sparsity,
        )
        for name in ("theta", "gamma", "gamma_rate"):
            check(is_finite(getattr(self, name)), name, "be a finite number", getattr(self, name))
        check(self.gamma_rate >= 0, "gamma_rate", "not be negative", self.gamma_rate)
        if isinstance(self.alpha, str):
            check(self.alpha in ("ones", "mean"), "alpha", "be ones, mean or a square matrix", self.alpha)
        else:
            square = is_list(self.alpha) and all(
                is_list(row) and len(row) == len(self.alpha) and all(map(is_finite, row)) for row in self.alpha
            )
            check(square, "alpha", "be a square matrix of finite numbers", self.alpha)

    @property
    def loss_slope(self) -> float:
        """The slope in force, once resolved."""
        return float(self.slope) if self.slope is not None else 4.0 if self.loss == "symmetric" else 1.0

    @property
    def label_smoothing(self) -> float:
        """Label smoothing, once resolved."""
        return float(self.smoothing)

    def weights(self, layers: int) -> tuple[tuple[float, ...], ...]:
        """Return alpha as an L x L matrix, 0 where layer l does not listen to layer k (and on the diagonal)."""
        even = 1.0 if self.alpha == "ones" else 1.0 / max(1, layers - 1)

        def weight(listener: int, other: int) -> float:
            apart = {"all": other != listener, "previous": other < listener, "next": other > listener}
            if self.variant == "ff" or not apart[self.scope]:
                return 0.0
            return even if isinstance(self.alpha, str) else self.alpha[listener][other]

        return tuple(tuple(weight(i, k) for k in range(layers)) for i in range(layers))
