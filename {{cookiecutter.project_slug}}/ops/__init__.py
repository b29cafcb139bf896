"""Operations on the deployed service: bundle, upload, deploy, follow, verify and destroy."""
