"""Papers on models of their own: continuous control, stake, fees. Nothing else imports them."""
