"""The component repository: contracts, registry and the components themselves."""
