"""Rows of the certificate: several stochastic layers, a chain as state, draws of the posterior, and closed forms.

Two layers of one dimension each, linear and Gaussian, with q(z_1 | x) q(z_2 | z_1) affine. log w is a function of two
standard normal numbers, so that its law is a quadrature on a grid and ∇E[L_K] is exact at every K.
"""
