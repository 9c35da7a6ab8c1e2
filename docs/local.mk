# docs
dist_man_MANS += %reldir%/man/controlnetd.8 %reldir%/man/controlnetd.conf.5
dist_man_MANS += %reldir%/man/controlnet.1
