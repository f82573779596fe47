"""The visual tools that come with the package, one a module. They are found through entry points, like all others."""
