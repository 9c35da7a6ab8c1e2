"""TAESD: a small AutoencoderTiny with random weights, and what its decoder makes of a latent."""

import torch
from diffusers import AutoencoderTiny

from common import generator, save_tensors


def make(out):
    torch.manual_seed(11)
    net = AutoencoderTiny(
        encoder_block_out_channels=(8, 8, 8),
        decoder_block_out_channels=(8, 8, 8),
        num_encoder_blocks=(1, 1, 1),
        num_decoder_blocks=(2, 1, 1),
    ).eval()
    latent = torch.randn((1, 4, 6, 5), generator=generator(3)) * 2
    with torch.no_grad():
        for value in net.parameters():
            value.mul_(1.5)
        decoded = net.decode(latent).sample
    out.mkdir(parents=True, exist_ok=True)
    save_tensors(out / "model.safetensors", dict(net.state_dict()))
    save_tensors(out / "decoded.safetensors", dict(latent=latent, decoded=decoded))
