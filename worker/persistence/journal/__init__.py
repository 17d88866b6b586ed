"""Operations, their steps, and what is told of them."""
