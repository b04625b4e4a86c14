"""What a comparison looks at, or changes, in a training beside what a spec can say: `ffedge bench --paper`'s own."""

import math
from dataclasses import dataclass

EACH_UP_TO, IN_A_DECADE = 20, 40


@dataclass(frozen=True)
class Study:
    """No part of a spec, as no model is made this way.

    Attributes
    ----------
    measured_rows : so many rows of those that are trained on, spread evenly, give an epoch's accuracy, where no rows
        are held out; 0 measures none. Late epochs are measured more rarely (`measures`).
    shuffled : the control of collaboration. In eq. 5 the other layers' goodness is that of another sample (true label
        to true label, wrong to wrong): the same threshold on the average, and no information about the sample.
    """

    measured_rows: int = 0
    shuffled: bool = False

    def measures(self, epoch: int, epochs: int) -> bool:
        """Tell whether an epoch is measured: each of the first, then as many in each decade, and the last."""
        done = epoch + 1
        step = math.floor(IN_A_DECADE * math.log10(done)) > math.floor(IN_A_DECADE * math.log10(max(1, epoch)))
        return self.measured_rows > 0 and (done <= EACH_UP_TO or done == epochs or step)
