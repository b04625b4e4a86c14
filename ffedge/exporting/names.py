"""The names of the forms."""

FORMS = {  # name -> what it computes, and whether its weights are int8
    "exact": ("exact", False),
    "pruned": ("pruned", False),
    "head": ("head", False),
    "int8": ("exact", True),
    "pruned-int8": ("pruned", True),
    "head-int8": ("head", True),
}
