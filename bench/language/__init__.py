"""The language against C: classic kernels, each written twice, by the same compiler and flags, counted on an emulated CPU."""
