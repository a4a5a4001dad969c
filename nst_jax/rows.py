"""How the rows of one image, and of all that is computed from it, are shared among devices.

Each device holds equally many rows, the first ones the first device: as many as all four poolings
of the network can halve, so that the last devices may hold some that lie beyond the image. Those
are zeros, and stay zeros: nothing depends on how many devices there are but the order of sums.

What is computed on them is written for the rows of one device, inside a `jax.shard_map` over the
axis `AXIS`; where there is one device only, all of this does nothing, outside of it too.
"""

from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import lax

Tree = TypeVar("Tree")

AXIS = "rows"
MULTIPLE = 16  # of which a device's rows are one


class Rows(NamedTuple):
    """The rows of an image and of its layers' maps, and which of them this device holds.

    Attributes:
        devices: that share the image.
        height: of the whole image, H; with one device it need not be known.
    """

    devices: int = 1
    height: int = 0

    @property
    def share(self) -> int:
        """Rows of the image that each device holds."""
        return MULTIPLE * -(-self.height // (MULTIPLE * self.devices))

    def padded(self, height: int) -> int:
        """Rows that the devices hold together of the image, or of a layer of so many."""
        if self.devices == 1:
            return height
        halvings = next(n for n in range(5) if self.height >> n == height)
        return self.devices * self.share >> halvings

    def whole(self, held: int) -> int:
        """Rows of a layer, of which each device holds so many."""
        return held if self.devices == 1 else self.height * held // self.share

    def top(self, held: int) -> jax.Array | int:
        """The first row that this device holds of a layer, counted from the layer's first."""
        return 0 if self.devices == 1 else lax.axis_index(AXIS) * held

    def masked(self, maps: jax.Array, axis: int = -3) -> jax.Array:
        """Maps, by default (…, h, w, C), with zeros in the rows beyond the layer.

        Only so many of the last rows are touched as may lie there, which is done in place.
        """
        held = maps.shape[axis]
        last = min(held, self.devices * held - self.whole(held))
        if last == 0 or self.devices == 1:
            return maps
        first = held - last
        inside = self.top(held) + first + jnp.arange(last) < self.whole(held)
        rest = lax.slice_in_dim(maps, first, held, axis=axis)
        rest = jnp.where(jnp.expand_dims(inside, range(1, -axis)), rest, 0)
        return lax.dynamic_update_slice_in_dim(maps, rest, first, axis)

    def with_neighbors(self, maps: jax.Array, count: int = 1) -> jax.Array:
        """Maps (N, h, w, C) with so many rows of each neighbor around them; zeros at the ends.

        A layer's neighbors must hold as many.
        """
        if self.devices == 1:
            return jnp.pad(maps, ((0, 0), (count, count), (0, 0), (0, 0)))
        above, below = self.from_neighbors(maps[:, :count], maps[:, -count:])
        return jnp.concatenate([above, maps, below], axis=1)

    def from_neighbors(self, first: jax.Array, last: jax.Array) -> tuple[jax.Array, jax.Array]:
        """What the device before gives as its last, that after as its first; zeros at the ends."""
        if self.devices == 1:
            return jnp.zeros_like(last), jnp.zeros_like(first)
        forth = [(device, device + 1) for device in range(self.devices - 1)]
        back = [(after, before) for before, after in forth]
        return lax.ppermute(last, AXIS, forth), lax.ppermute(first, AXIS, back)

    def sum(self, shares: Tree) -> Tree:
        """The sums of the arrays that the devices bring, on all of them.

        Its gradient is that of each share: all devices compute the same of the sum.
        """
        return shares if self.devices == 1 else _sum(shares)

    def to_columns(self, rows: jax.Array) -> jax.Array:
        """All rows of this device's share of columns, (H, w, C), of its rows (share, W, C).

        The last devices' columns may lie beyond the image, and are zeros then.
        """
        if self.devices == 1:
            return rows
        beyond = -rows.shape[1] % self.devices
        padded = jnp.pad(rows, ((0, 0), (0, beyond), (0, 0)))
        return lax.all_to_all(padded, AXIS, 1, 0, tiled=True)[: self.height]

    def to_rows(self, columns: jax.Array, width: int) -> jax.Array:
        """This device's rows (share, W, C) of its columns (H, w, C), as `to_columns` has them."""
        if self.devices == 1:
            return columns
        beyond = self.devices * self.share - self.height
        padded = jnp.pad(columns, ((0, beyond), (0, 0), (0, 0)))
        return lax.all_to_all(padded, AXIS, 0, 1, tiled=True)[:, :width]

    def all(self, conditions: jax.Array) -> jax.Array:
        """Whether a condition holds on all devices."""
        return conditions if self.devices == 1 else lax.pmin(conditions.astype(jnp.int32), AXIS) > 0


ALONE = Rows()  # one device, which holds all


@jax.custom_vjp
def _sum(shares: Tree) -> Tree:
    return lax.psum(shares, AXIS)


_sum.defvjp(lambda shares: (_sum(shares), None), lambda _, cotangent: (cotangent,))
