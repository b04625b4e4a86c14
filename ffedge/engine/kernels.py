"""The graphs of training, composed of a layer, its goodness, norm, loss and optimiser: one file for all kinds of them.

    product     raw, mask -> x, z                what all labels of a sample share (first layer)
    forward     source, labels -> rows, g        a layer's forward pass
    learn       source, labels, state -> dz, new state, g, loss      a step, but for tiled parameters
    tile        x, dz, state -> new state        a step of T rows of a tiled parameter
    apply, tile_apply    ``sum.*``, state -> new state      the same from gradients that `learn` and `tile` accumulated

The gradient needs no autograd: a loss on goodness gives one number a row, and each layer its own closed form
(`ffedge.layers`). Shape letters: as in `ffedge.layers.base`; M = 1 + K labels tried.
"""

from ffedge.kinds import goodness_of, parameters_of
from ffedge.layers import inputs
from ffedge.layers.base import Layer, Read, answering
from ffedge.network import InputFacts, Sizes, adds_input, gathered, trained
from ffedge.onnx.graph import Dims, Graph, GraphBuilder
from ffedge.recipe import Recipe
from ffedge.rule import collaboration, similarity
from ffedge.rule.loss import loss_and_slope
from ffedge.rule.norm import passed_on
from ffedge.rule.optimizer import ADAM_DECAYS, MOMENTS, update

FOLLOWING = 0.01  # share of the way that a fixed norm goes to a batch's activity
HOMEOSTASIS = 0.5  # what a bias loses a step for each share of rows that its unit is active in too often
SCALARS = (
    "rate",
    "decaying.rate",
    "epsilon",
    "keep",
    "gamma.rate",
    "gamma.epsilon",
    "share",
)  # what changes from step to step


class Kernels:
    """Builds the graphs of a recipe on given data, each when it is asked for."""

    def __init__(self, recipe: Recipe, facts: InputFacts) -> None:
        self.recipe, self.facts = recipe, facts
        self._network, self._classes = recipe.network, facts.n_classes
        self._tried = 1 + recipe.train.n_negatives

    def product(self, layer: Layer, *, dropout: bool) -> Graph:
        """``raw`` [N, I], ``mask`` [N, D] -> ``x`` [N, D], and what the labels of a sample share.

        That is ``z`` = x W + b [N, H], and the label's ``value`` [N, 1, 1] where it is not the same for all.
        """
        g, network = GraphBuilder("product"), self._network
        g.stage = "scale"
        raw = g.input("raw", ("N", self.facts.size), self.facts.dtype)
        x = inputs.scaled(g, raw, network, self.facts, out="scaled")
        if dropout:
            g.stage = "dropout"
            x = inputs.dropped(g, x, g.input("mask", ("N", layer.place.inputs), "uint8"), self.recipe.train)
        g.stage = "product"
        x, value = inputs.normed(g, x, network, self.facts)
        if value is not None:
            g.op("Identity", value, out="value")
            g.output("value", ("N", 1, 1))
        g.op("Identity", x, out="x")
        g.output("x", ("N", layer.place.inputs))
        if layer.place.shares:
            layer.shared(g, "x", _Parameters(g, layer), out="z")
            g.output("z", ("N", layer.units))
        return g.graph

    def forward(self, layer: Layer, *, all_labels: bool = False, emit_rows: bool = True) -> Graph:
        """Source -> ``rows`` [R, H], normed, and ``g`` [R], or [N, C] where no labels are tried.

        The source of a first layer with labels is ``z``, others' ``x`` [R, D].

        Parameters
        ----------
        all_labels : the first layer tries all C labels and takes no ``labels``.
        emit_rows : whether a next layer reads them; hard negatives are drawn by the first layer's ``g`` alone.
        """
        g = GraphBuilder("forward")
        read, p = self._read(g, layer, all_labels=all_labels), _Parameters(g, layer)
        y, axis = layer.activity(g, read, p)
        good = goodness_of(layer).of(g, y, axis, p)
        if emit_rows:
            self._output_rows(g, layer, y, good, axis)
        if self._network.tries_labels:
            g.op("Reshape", good, g.ints(-1), out="g")
            g.output("g", ("R",))
        else:
            g.op("Identity", good, out="g")
            g.output("g", ("R", self._classes))
        return g.graph

    def learn(self, layer: Layer, *, emit_rows: bool, accumulate: bool = False, weighted: bool = False) -> Graph:
        """One step of a layer but for tiled parameters: source, labels, state -> ``dz``, new state, ``g``, ``loss`` [].

        Inputs beside those of `forward`: ``other`` [N, M], the other layers' weighted goodness, and ``gamma`` (where
        the variant collaborates), ``share`` = 1 / batch, the optimiser's scalars and moments.

        Parameters
        ----------
        emit_rows : whether the next layer learns from the same batch.
        accumulate : add the gradients to ``sum.*`` instead of stepping; `apply` steps.
        weighted : read ``weight`` [N, 1] too, by which each sample's loss is multiplied.
        """
        g, rule = GraphBuilder("accumulate" if accumulate else "learn"), self.recipe.rule
        g.stage = "forward"
        goodness, read, p = goodness_of(layer), self._read(g, layer, learns=True), _Parameters(g, layer)
        y, axis = layer.activity(g, read, p)
        good = goodness.of(g, y, axis, p)
        if goodness.tries_labels:
            flat = g.op("Reshape", good, g.ints(-1), out="g.flat")  # what a forward pass gives out
        g.stage, whole = "goodness", good
        if goodness.tries_labels:
            good = g.op("Reshape", flat, g.ints(-1, self._tried), out="g")
        else:  # of all classes those that the loss compares
            g.op("GatherElements", good, g.input("labels", ("N", self._tried), "int64"), out="g", axis=1)
        g.output("g", ("N", self._tried))
        g.stage = "learn"
        slope = dg = self._loss_slope(g, weighted=weighted)
        if not goodness.tries_labels:
            dg = g.op("ScatterElements", g.op("Sub", good, good), "labels", slope, axis=1)
        value, weight = goodness.slope(g, y, dg, p)
        if rule.similarity:
            value = g.op("Add", value, similarity.slope(g, y, layer, rule.similarity))
        gradients = layer.gradients(g, read, answering(g, y, value, layer.place.bound), weight)
        gradients |= goodness.gradients(g, y, dg)
        if tiled_of(layer):
            g.output("dz", layer.dz_dims())
        if rule.variant == "acff":
            gradients["gamma"] = collaboration.gamma_gradient(g, slope)
        gradients |= self._measures(g, layer, y, good)
        g.stage = "update"
        sizes = gathered(self.recipe, layer)
        sums: dict[str, tuple[str, Dims]] = {name: (gradient, sizes[name]) for name, gradient in gradients.items()}
        if accumulate:
            for name, (gradient, dims) in sums.items():
                _collect(g, name, gradient, dims)
        else:
            self._updates(g, layer, sums)
        if emit_rows:  # added last and so made first, while the activity stands
            g.stage = "rows"
            self._output_rows(g, layer, y, whole, axis)
        return g.graph

    def apply(self, layer: Layer) -> Graph:
        """Step with the accumulated gradients ``sum.*``, but for tiled parameters (`tile_apply`)."""
        g, tiled = GraphBuilder("apply"), tiled_of(layer)
        dims = {name: dims for name, dims in gathered(self.recipe, layer).items() if name not in tiled}
        self._updates(g, layer, {name: (g.input(f"sum.{name}", d), d) for name, d in dims.items()})
        return g.graph

    def tile(self, layer: Layer, name: str, *, accumulate: bool = False) -> Graph:
        """Step T rows of a tiled parameter, which is the same however it is cut: ``x`` [R, T], ``dz`` -> new ones.

        Parameters
        ----------
        accumulate : add the gradient to its ``sum.*`` instead of stepping; `tile_apply` steps.
        """
        g, dims = GraphBuilder("tile"), _tile_dims(layer, name)
        g.stage = "gradient"
        gradient = layer.tile_gradient(g, name)
        g.stage = "step"
        if accumulate:
            _collect(g, name, gradient, dims)
        else:
            self._updates(g, layer, {name: (gradient, dims)})
        return g.graph

    def tile_apply(self, layer: Layer, name: str) -> Graph:
        """Step T rows of a tiled parameter with their accumulated gradient."""
        g, dims = GraphBuilder("tile-apply"), _tile_dims(layer, name)
        self._updates(g, layer, {name: (g.input(f"sum.{name}", dims), dims)})
        return g.graph

    def _read(self, g: GraphBuilder, layer: Layer, *, all_labels: bool = False, learns: bool = False) -> Read:
        """Add the inputs that a layer reads."""
        place = layer.place
        if not place.shares:
            labels = g.input("labels", ("R",), "int64") if place.sees_label else None
            return Read(g.input("x", ("R", place.inputs)), labels=labels, learns=learns)
        z = g.input("z", ("N", layer.units))
        labels = None if all_labels or not place.sees_label else g.input("labels", ("N", "M"), "int64")
        value = g.input("value", ("N", 1, 1)) if self._network.value_varies else None
        return Read("x", z, labels, value, learns)

    def _output_rows(self, g: GraphBuilder, layer: Layer, y: str, good: str, axis: int) -> None:
        power = g.input("power", ()) if self._network.norm == "fixed" else None
        out = "rows" if axis == 1 else "rows.3d"
        skips = adds_input(self._network, layer)
        passed_on(g, "x", y, good, power, axis, layer, self._network, out, skips=skips)
        if axis == 2:
            g.op("Reshape", out, g.ints(-1, layer.units), out="rows")
        g.output("rows", ("R", layer.passes))

    def _loss_slope(self, g: GraphBuilder, *, weighted: bool) -> str:
        """Add eq. 5 and the loss; return dLoss/dG [N, M], the batch's mean taken."""
        G = collaboration.joined(g, self._tried, self.recipe.rule)
        losses, slope = loss_and_slope(g, G, self._tried, self.recipe.rule)
        if weighted:
            weight = g.input("weight", ("N", 1))
            losses, slope = g.op("Mul", losses, weight), g.op("Mul", slope, weight)
        share = g.input("share", ())
        g.op("Mul", g.op("ReduceSum", losses, keepdims=0), share, out="loss")
        g.output("loss", ())
        return g.op("Mul", slope, share)

    def _measures(self, g: GraphBuilder, layer: Layer, y: str, good: str) -> dict[str, str]:
        """Add what is measured of a batch beside gradients: ``power`` [], a mean square, and ``active`` [H], shares."""
        each = g.op("Mul", "share", g.const(1.0 / self._network.rows_a_sample(self._tried)))  # of one row
        result = layer.measured(g, each)
        if self._network.norm == "fixed":
            squares, factor = goodness_of(layer).square_sum(g, y, good, 1)
            total = g.op("ReduceSum", squares, keepdims=0)
            result["power"] = g.op("Mul", total, g.op("Mul", each, g.const(factor / layer.units)))
        if self.recipe.rule.sparsity is not None:
            rows = g.op("Reshape", g.op("Sign", y), g.ints(-1, layer.units))
            result["active"] = g.op("Mul", g.sum(rows, 0), each)
        return result

    def _updates(self, g: GraphBuilder, layer: Layer, gradients: dict[str, tuple[str, Dims]]) -> None:
        """Add each parameter's update, from its gradient (or what is measured for it) and its sizes."""
        train, pull, parameters = self.recipe.train, None, parameters_of(layer)
        if self.recipe.rule.sparsity is not None and "active" in gradients:
            often = g.op("Sub", gradients["active"][0], g.const(self.recipe.rule.sparsity))
            pull = g.op("Mul", often, g.const(HOMEOSTASIS))
        for name, (gradient, dims) in gradients.items():
            if name == "active":
                continue
            follows = FOLLOWING if name == "power" else parameters[name].follows if name in parameters else 0.0
            if follows:
                way = g.op("Mul", g.op("Sub", gradient, g.input(name, dims)), g.const(follows))
                g.op("Add", name, way, out=f"new.{name}")
                g.output(f"new.{name}", dims)
                continue
            kind = self.recipe.optimizer_of(name)
            decay = name in parameters and parameters[name].decays and train.weight_decay > 0
            prefix, momentum = ("gamma.", ADAM_DECAYS[0]) if name == "gamma" else ("", train.momentum)
            bias_pull = pull if name == "b" else None
            update(g, name, gradient, dims, kind, momentum, decay=decay, prefix=prefix, pull=bias_pull)


class _Parameters(dict[str, str]):
    """Declares a layer's parameter as an input when a graph first reads it."""

    def __init__(self, g: GraphBuilder, layer: Layer) -> None:
        super().__init__()
        self._g, self._all = g, parameters_of(layer)

    def __missing__(self, name: str) -> str:
        return self._g.input(name, self._all[name].shape)


def tiled_of(layer: Layer) -> list[str]:
    """Return the names of a layer's tiled parameters."""
    return [name for name, parameter in parameters_of(layer).items() if parameter.tiled]


def spared(layer: Layer) -> set[str]:
    """Return the new values that a step must not write over the old ones: it may read these after that.

    A single number never is: of a fixed norm, ``power`` may be read after ``new.power`` is made.
    """
    return {f"new.{name}" for name, parameter in parameters_of(layer).items() if parameter.goes_back}


def moments(recipe: Recipe, layer: Layer) -> Sizes:
    """Return the shape of each moment that the optimisers keep of a layer, by name."""
    return {
        f"{name}.{moment}": shape
        for name, shape in trained(recipe, layer).items()
        if name not in parameters_of(layer) or not parameters_of(layer)[name].follows
        for moment in MOMENTS[recipe.optimizer_of(name)]
    }


def _tile_dims(layer: Layer, name: str) -> Dims:
    return ("T", *parameters_of(layer)[name].shape[1:])


def _collect(g: GraphBuilder, name: str, gradient: str, dims: Dims) -> None:
    g.op("Add", g.input(f"sum.{name}", dims), gradient, out=f"new.sum.{name}")
    g.output(f"new.sum.{name}", dims)
