"""One decoder for all families.

NNX ends here: what leaves is a graph definition and a tuple of leaves.
"""

from jaxgen.machine.jax_compat import require_fitting_flax

# Before any module imports flax: with a version that does not fit, that import fails obscurely.
require_fitting_flax()
