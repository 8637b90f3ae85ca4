"""Functions on Tensors for neural networks, by PyTorch's names, arguments and defaults.

Each is written with the functions of `atled`: no rule for a derivative is in this folder.
"""

from atled.nn.functional.activation import (
    celu,
    elu,
    gelu,
    glu,
    hardshrink,
    hardsigmoid,
    hardswish,
    hardtanh,
    leaky_relu,
    log_softmax,
    logsigmoid,
    mish,
    prelu,
    relu,
    relu6,
    selu,
    sigmoid,
    silu,
    softmax,
    softmin,
    softplus,
    softshrink,
    softsign,
    tanh,
    tanhshrink,
    threshold,
)
from atled.nn.functional.attention import scaled_dot_product_attention
from atled.nn.functional.classify import cross_entropy, nll_loss
from atled.nn.functional.conv import (
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
    pad,
    unfold,
)
from atled.nn.functional.distance import cosine_similarity, pairwise_distance
from atled.nn.functional.dropout import dropout, dropout1d, dropout2d, dropout3d
from atled.nn.functional.linear import bilinear, embedding, linear, one_hot
from atled.nn.functional.loss import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cosine_embedding_loss,
    gaussian_nll_loss,
    huber_loss,
    kl_div,
    l1_loss,
    margin_ranking_loss,
    mse_loss,
    poisson_nll_loss,
    smooth_l1_loss,
    triplet_margin_loss,
)
from atled.nn.functional.norm import (
    batch_norm,
    group_norm,
    instance_norm,
    layer_norm,
    local_response_norm,
    normalize,
    rms_norm,
)
from atled.nn.functional.pooling import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    avg_pool1d,
    avg_pool2d,
    max_pool1d,
    max_pool2d,
)
from atled.nn.functional.vision import interpolate, pixel_shuffle, pixel_unshuffle
