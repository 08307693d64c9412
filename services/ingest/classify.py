"""The category of a reception that names none, or an unknown word: decided with a reason, never by guesswork (pure)."""

from shared.policy import Policy


def classify(given: str, title: str, policy: Policy) -> tuple[str, str]:
    """(category, reason): the word is a category's Chinese name (`name`); the title has keywords of just one category
    (`keyword:<word>`); else the policy's default (`default`)."""
    word = given.strip()
    for category in policy.categories.values():
        if word and word == category.name:
            return category.slug, "name"
    found = {
        category.slug: keyword
        for category in policy.categories.values()
        for keyword in category.keywords
        if keyword in title
    }
    if len(found) == 1:
        ((slug, keyword),) = found.items()
        return slug, f"keyword:{keyword}"
    return policy.default_category, "default"
