"""What cloaks cost (`bench`) and what they are worth (`evaluate`, `study`, `audit`)."""
