"""``treeward bench linear``: the linear layers of a step beside torch."""
