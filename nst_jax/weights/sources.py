"""The table of weight files that are fetched: official addresses and published checksums."""

import dataclasses

GOOGLE = "https://storage.googleapis.com/tensorflow/keras-applications/"
CHOLLET = "https://github.com/fchollet/deep-learning-models/releases/download/v0.1/"
TORCHVISION = "https://download.pytorch.org/models/"
JCJOHNSON = "https://web.eecs.umich.edu/~justincj/models/"
MATCONVNET = "https://www.vlfeat.org/matconvnet/models/"


@dataclasses.dataclass(frozen=True)
class Source:
    """One published file.

    Attributes:
        file_name: as published.
        folders: the official addresses without the file's name, the first tried first.
        algorithm: of the checksum, "md5" or "sha256".
        digest: the checksum in hexadecimal, or as many first digits as are published.
    """

    file_name: str
    folders: tuple[str, ...]
    algorithm: str
    digest: str

    @property
    def urls(self) -> tuple[str, ...]:
        """Every address of the file."""
        return tuple(folder + self.file_name for folder in self.folders)


# The plain names are the files that need no PyTorch: Keras's, with Oxford's values. Gatys's
# vgg_conv.pth can be converted but not fetched: no checksum was published, its address is gone.
# Checksums: Keras's from keras-applications; PyTorch's begin in the files' own names.
SOURCES = {
    "vgg19": Source(
        "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
        (GOOGLE + "vgg19/", CHOLLET),
        "md5",
        "253f8cb515780f3b799900260a226db6",
    ),
    "vgg16": Source(
        "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
        (GOOGLE + "vgg16/", CHOLLET),
        "md5",
        "6d6bbae143d832006294945121d1f1fc",
    ),
    "vgg19-torchvision": Source(
        "vgg19-dcbb9e9d.pth",
        (TORCHVISION,),
        "sha256",
        "dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44",
    ),
    "vgg16-torchvision": Source(
        "vgg16-397923af.pth",
        (TORCHVISION,),
        "sha256",
        "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
    ),
    "vgg19-jcjohnson": Source("vgg19-d01eb7cb.pth", (JCJOHNSON,), "sha256", "d01eb7cb"),
    "vgg16-jcjohnson": Source("vgg16-00b39a1b.pth", (JCJOHNSON,), "sha256", "00b39a1b"),
    "vgg19-matconvnet": Source(
        "imagenet-vgg-verydeep-19.mat",
        (MATCONVNET,),
        "sha256",
        "abdb57167f82a2a1fbab1e1c16ad9373411883f262a1a37ee5db2e6fb0044695",
    ),
}
