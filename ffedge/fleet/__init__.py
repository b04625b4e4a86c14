"""A fleet of boards that learns together by Flower (extra `fleet`); `rounds` is what a round computes, without it."""
