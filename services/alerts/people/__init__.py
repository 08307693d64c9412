"""Who looks: accounts, sessions and what each may see."""
