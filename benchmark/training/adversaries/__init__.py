"""The adversaries of adversarial training: what makes a batch harder before it is learnt from."""
