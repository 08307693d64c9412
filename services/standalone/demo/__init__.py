"""The demonstration: the city's first quarter of 2022, told again with synthetic messages."""
