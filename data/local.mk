# CLIP's vocabulary, for checkpoints that bring no tokenizer of their own.
clipdir = $(pkgdatadir)/clip
dist_clip_DATA = \
    %reldir%/clip/LICENSE \
    %reldir%/clip/bpe_simple_vocab_16e6.txt.gz

dist_pkgdata_DATA = openapi.yaml

# The models of the tree keep their folders, which automake's DATA would not.
install-data-local: install-models
uninstall-local: uninstall-models
models_find = test ! -d models || find models -type f ! -name '*.png' ! -name '*.md'
install-models:
	@(cd $(srcdir) && $(models_find)) | while read -r file; do \
	    $(MKDIR_P) "$(DESTDIR)$(pkgdatadir)/$$(dirname "$$file")" && \
	    $(INSTALL_DATA) "$(srcdir)/$$file" "$(DESTDIR)$(pkgdatadir)/$$file" || exit 1; \
	done
uninstall-models:
	@(cd $(srcdir) && $(models_find)) | while read -r file; do \
	    rm -f "$(DESTDIR)$(pkgdatadir)/$$file"; \
	done
	@test ! -d "$(DESTDIR)$(pkgdatadir)/models" || \
	    find "$(DESTDIR)$(pkgdatadir)/models" -depth -type d -exec rmdir {} + 2>/dev/null || :
.PHONY: install-models uninstall-models
