"""What the site needs beyond Sphinx, MyST and its theme: one module each, a `setup` in those that Sphinx loads."""
