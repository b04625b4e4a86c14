"""The learning rule of docs/design.md in numpy float64, the long way: every row carries its whole label.

It shares no code with ffedge and factors nothing: the labels are written into the inputs, the weights of label and
input are one matrix, no row is computed for two labels at once. It reads a spec's fields as plain data.

Shape letters: N samples, M labels tried for each (the true one first), R = N * M rows, I inputs of a sample, F inputs
of a layer with its label, H units, C classes.
"""

import numpy as np

EPSILON = 1e-4  # beside the length, RMS or variance that rows are divided by
ADAM = (0.9, 0.999, 1e-8)
FOLLOWING = 0.01  # of the way that a fixed norm's power goes to a batch's
HOMEOSTASIS = 0.5  # what a bias loses for each share of rows in which its unit is active too often


def softplus(u):
    return np.logaddexp(0.0, u)


def sigmoid(u):
    return 0.5 * (1.0 + np.tanh(0.5 * u))


def log_softmax(u):
    return u - np.logaddexp.reduce(u, axis=1, keepdims=True)


class Oracle:
    """A network and its learning; `layers` are ffedge's parameters: W, b, V where a layer sees the label, gamma."""

    def __init__(self, recipe, facts, layers):
        self.network, self.rule, self.spec, self.facts = recipe.network, recipe.rule, recipe.train, facts
        self.classes, self.L = len(facts.classes), len(layers)
        self.tried = recipe.network.class_goodness == "tried"
        self.layers = [{"W": self._whole(i, p), "b": np.array(p["b"], float)} for i, p in enumerate(layers)]
        for layer, parts in zip(self.layers, layers, strict=True):
            layer.update({"A": np.array(parts["A"], float)} if "A" in parts else {})
        self.gamma = [float(p.get("gamma", 0.0)) for p in layers]
        self.power = [float(p.get("power", 1.0)) for p in layers]
        self.moments = {}

        self.bound = np.inf if recipe.network.bound is None else recipe.network.bound

    def _sees_label(self, layer):
        return self.tried and (layer == 0 or self.network.label_layers == "all")

    def _replaced(self, layer):
        """Say whether the label takes the place of inputs: then its rows of W come first, else last."""
        return layer == 0 and self.network.label_mode == "overlay"

    def _whole(self, layer, parts):
        order = [parts["V"], parts["W"]] if self._replaced(layer) else [parts["W"], parts.get("V", parts["W"][:0])]
        return np.concatenate(order).astype(float)

    def parameters(self, layer):
        """Return W, V and b apart, as ffedge names them."""
        W, C = self.layers[layer]["W"], self.classes if self._sees_label(layer) else 0
        V, rest = (W[:C], W[C:]) if self._replaced(layer) else (W[len(W) - C :], W[: len(W) - C])
        beside = {name: self.layers[layer][name] for name in ("b", "A") if name in self.layers[layer]}
        return {"W": rest} | beside | ({"V": V} if C else {})

    def onehot(self, labels):
        return float(self.network.label_scale) * np.eye(self.classes)[labels.reshape(-1)]

    def rows(self, raw, labels, mask=None):
        """Write each tried label [N, M] into its sample [N, I]: rows [R, F], scaled, dropped out, normed."""
        x = (raw.astype(float) - np.array(self.facts.offset)) * np.array(self.facts.scale)
        if mask is not None:
            x[:, x.shape[1] - mask.shape[1] :] *= mask / (1.0 - self.spec.input_dropout)
        rows, onehot = (np.repeat(x, labels.shape[1], axis=0), self.onehot(labels)) if self.tried else (x, None)
        if self.network.label_mode == "overlay":
            rows[:, : self.classes] = onehot
        elif self.tried:
            rows = np.concatenate([rows, onehot], axis=1)
        if self.network.input_norm == "unit":
            rows /= np.linalg.norm(rows, axis=1, keepdims=True) + EPSILON
        elif self.network.input_norm == "rms":
            rows /= np.sqrt(np.mean(rows**2, axis=1, keepdims=True)) + EPSILON
        return rows

    def normed(self, y, layer):
        if self.network.norm == "fixed":
            return y / (np.sqrt(self.power[layer]) + EPSILON)
        if self.network.norm == "unit":
            return y / (np.linalg.norm(y, axis=1, keepdims=True) + EPSILON)
        if self.network.norm == "rms":
            return y / (np.sqrt(np.mean(y**2, axis=1, keepdims=True)) + EPSILON)
        return (y - y.mean(1, keepdims=True)) / np.sqrt(y.var(1, keepdims=True) + EPSILON)

    def forward(self, raw, labels, mask=None):
        """Return each layer's inputs [R, F], activity [R, H] and goodness [N, M]."""
        x, result = self.rows(raw, labels, mask), []
        for i, layer in enumerate(self.layers):
            read = x
            if i and self._sees_label(i):
                x = np.concatenate([x, self.onehot(labels)], axis=1)
            y = np.clip(x @ layer["W"] + layer["b"], 0.0, self.bound)
            result.append((x, y, self._goodness(layer, y, labels)))
            x = self.normed(y, i)
            if self.network.skip == "add" and i and x.shape == read.shape:
                x = self.normed(x + read, i)
        return result

    def _goodness(self, layer, y, labels):
        """Return the goodness [N, M] of labels."""
        self.labels = labels  # of the batch whose gradients are asked for next
        if self.tried:
            return ((y**2).mean(1) if self.network.goodness == "mean" else (y**2).sum(1)).reshape(labels.shape)
        groups = [(group**2 * self._shares(group)).sum(1) for group in np.array_split(y, self.classes, axis=1)]
        each = y @ layer["A"] if "A" in layer else np.stack(groups, axis=1)
        return np.take_along_axis(each, labels, axis=1)

    def goodness(self, raw, mask=None):
        """Return every class's goodness [N, L, C]."""
        labels = np.tile(np.arange(self.classes), (len(raw), 1))
        return np.stack([g for _, _, g in self.forward(raw, labels, mask)], axis=1)

    def scores(self, raw):
        weights = [1.0] * self.L
        if self.rule.prediction_weights == "collaborative":
            weights = [1.0 + sum(self.gamma[m] * self.alpha(m, i) for m in range(self.L)) for i in range(self.L)]
        if self.rule.prediction_weights == "deeper":
            weights = [4.0 ** (i - self.L + 1) for i in range(self.L)]
        return np.einsum("l,nlc->nc", weights, self.goodness(raw))

    def alpha(self, layer, other):
        """Return the weight of another layer in a layer (eq. 5)."""
        heard = {"all": other != layer, "previous": other < layer, "next": other > layer}[self.rule.scope]
        if self.rule.variant == "ff" or not heard:
            return 0.0
        named = {"ones": 1.0, "mean": 1.0 / max(self.L - 1, 1)}
        return named[self.rule.alpha] if isinstance(self.rule.alpha, str) else self.rule.alpha[layer][other]

    def others(self, layer, g):
        theta = self.rule.theta if self.rule.theta_placement == "per_layer" else 0.0
        return sum((self.alpha(layer, k) * (g[k] - theta) for k in range(self.L)), np.zeros_like(g[layer]))

    def loss_and_slope(self, G):
        """Return the loss of each sample [N] and dLoss/dG [N, M]."""
        rule, K = self.rule, G.shape[1] - 1
        s = rule.slope
        true, wrong = G[:, :1], G[:, 1:]
        if rule.loss == "logistic":
            loss = 0.5 * (softplus(-s * true)[:, 0] + softplus(s * wrong).mean(1))
            return loss, 0.5 * s * np.concatenate([-sigmoid(-s * true), sigmoid(s * wrong) / K], axis=1)
        if rule.loss == "symmetric":
            pull = s * sigmoid(-s * (true - wrong)) / K
            return softplus(-s * (true - wrong)).mean(1), np.concatenate([-pull.sum(1, keepdims=True), pull], axis=1)
        target = np.full(K + 1, rule.smoothing / (K + 1)) + (1.0 - rule.smoothing) * np.eye(K + 1)[0]
        return -(log_softmax(s * G) * target).sum(1), s * (np.exp(log_softmax(s * G)) - target)

    def gradients(self, layer, passed):
        """Return the mean loss of a layer and its gradients; the other layers' goodness is a plain number."""
        x, y, g = passed[layer]
        others = self.others(layer, [item[2] for item in passed])
        losses, slope = self.loss_and_slope(g - self.rule.theta + self.gamma[layer] * others)
        slope = slope / len(g)
        dy, beside = self._activity_slope(layer, y, slope)
        dy = dy + self.rule.similarity * self._similarity_slope(y)
        dz = np.where((y > 0) & (y < self.bound), dy, 0.0)
        return losses.mean(), {"W": x.T @ dz, "b": dz.sum(0), "gamma": (slope * others).sum()} | beside

    def _activity_slope(self, layer, y, slope):
        """Return dLoss/dy from dLoss/dg [N, M], and the gradient of a readout."""
        if self.tried:
            return slope.reshape(-1, 1) * 2.0 * y / (y.shape[1] if self.network.goodness == "mean" else 1), {}
        by_class = np.zeros((len(y), self.classes))
        np.put_along_axis(by_class, self.labels, slope, axis=1)
        if "A" in self.layers[layer]:
            return by_class @ self.layers[layer]["A"].T, {"A": y.T @ by_class}
        groups = np.array_split(y, self.classes, axis=1)
        each = [2.0 * y * self._shares(y) * by_class[:, [c]] for c, y in enumerate(groups)]
        return np.concatenate(each, axis=1), {}

    def _similarity_slope(self, y):
        """Return the slope of mean_ij (cos(y_i, y_j) - T_ij)^2, of activities less their own mean."""
        if not self.rule.similarity:
            return 0.0
        f = np.sqrt(y**2 + 1e-4)
        c = f - f.mean(1, keepdims=True)
        length = np.sqrt((c**2).sum(1, keepdims=True) + 1e-4)
        h, true = c / length, self.labels[:, 0]
        wanted = np.where(true[:, None] == true, 1.0, -1.0 / (self.classes - 1))
        dh = 4.0 * (h @ h.T - wanted) @ h / len(y) ** 2
        dc = dh / length - c * (c * dh).sum(1, keepdims=True) / length**3
        return (dc - dc.mean(1, keepdims=True)) * y / f

    def _shares(self, group):
        """Return by what a group's squares [N, Q] are multiplied: all alike, or the largest quarter of them."""
        squares = group**2
        count = -(-squares.shape[1] // 4) if self.network.class_goodness == "top-groups" else squares.shape[1]
        places = np.argsort(squares, axis=1).argsort(axis=1)
        return (places >= squares.shape[1] - count) / count

    def learn(self, active, raw, true, wrong, mask, step, rates):
        """Let each active layer take a step, all from the weights before it; `step` counts from 0."""
        passed = self.forward(raw, np.concatenate([true[:, None], wrong], axis=1), mask)
        steps = [(i, *self.gradients(i, passed)) for i in active]
        for i, _, gradient in steps:
            for name in self.layers[i]:
                kept = 1.0 - rates[i] * self.spec.weight_decay if name != "b" else 1.0
                change = self._change((i, name), gradient[name], self.spec.optimizer, self.spec.momentum, step)
                self.layers[i][name] = self.layers[i][name] * kept - rates[i] * change
            y = passed[i][1]
            if self.rule.sparsity is not None:
                self.layers[i]["b"] -= HOMEOSTASIS * ((y > 0).mean(0) - self.rule.sparsity)
            self.power[i] += FOLLOWING * ((y**2).mean() - self.power[i])
            if self.rule.variant == "acff":
                change = self._change((i, "gamma"), gradient["gamma"], self.rule.gamma_optimizer, ADAM[0], step)
                self.gamma[i] -= self.rule.gamma_rate * change
        return {i: loss for i, loss, _ in steps}

    def _change(self, key, gradient, kind, first, step):
        m, v = self.moments.get(key, (0.0, 0.0))
        if kind == "adam":
            m, v = first * m + (1 - first) * gradient, ADAM[1] * v + (1 - ADAM[1]) * gradient**2
            change = (m / (1 - first ** (step + 1))) / (np.sqrt(v / (1 - ADAM[1] ** (step + 1))) + ADAM[2])
        else:
            m = change = (first * m if kind == "momentum" else 0.0) + gradient
        self.moments[key] = m, v
        return change

    def train(self, batches):
        """Run a schedule; ``batches(stage, epoch)`` lists (raw, true, mask, wrong), wrong [N, K] or chosen by class
        goodness [N, L, C]. Return the mean loss of each layer and epoch."""
        greedy, epochs, losses = self.spec.schedule == "greedy", self.spec.epochs, {}
        for stage in range(self.L if greedy else 1):
            active, done = [stage] if greedy else list(range(self.L)), 0
            for epoch in range(epochs):
                listed = list(batches(stage, epoch))
                for raw, true, mask, choice in listed:
                    left = 1.0 - done / (epochs * len(listed))
                    factor = {"none": 1.0, "linear": left, "half": min(1.0, 2.0 * left)}[self.spec.cooldown]
                    rates = {i: factor * self.spec.rate[min(i, len(self.spec.rate) - 1)] for i in active}
                    wrong = choice if isinstance(choice, np.ndarray) else choice(self.goodness(raw, mask))
                    for i, loss in self.learn(active, raw, true, wrong, mask, done, rates).items():
                        losses[i, epoch] = losses.get((i, epoch), 0.0) + loss * len(raw)
                    done += 1
        return losses
