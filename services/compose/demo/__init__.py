"""The demonstration of either form: the city's first quarter of 2022, told again with synthetic messages, and a portal that goes on."""
