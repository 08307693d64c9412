"""The services of liuyan. They speak through `shared` and never import each other; `standalone` composes them."""
