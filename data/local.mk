# CLIP's vocabulary, for checkpoints that bring no tokenizer of their own.
clipdir = $(pkgdatadir)/clip
dist_clip_DATA = \
    %reldir%/clip/LICENSE \
    %reldir%/clip/bpe_simple_vocab_16e6.txt.gz
