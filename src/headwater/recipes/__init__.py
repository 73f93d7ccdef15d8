"""Whole methods: a flow, a misfit and seeds in, a result out."""
