"""The nine protocols of the paper's section IV."""
