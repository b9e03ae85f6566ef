"""netspec: a declarative net-spec compiler on PyTorch."""
