"""CodeBuild that builds: the buildspec's commands run by bash, with stand-ins for docker and the AWS CLI."""
