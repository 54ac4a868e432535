"""The sources of the site. A package only so that `docs.extensions` is found here, whatever else is installed."""
